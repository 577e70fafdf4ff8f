"""Records as an engine gives them (GET /containers/{id}/json), reduced to what is read, and easy to vary."""

from __future__ import annotations

from typing import Any

ID = "0123456789abcdef" * 4


def record(
    *,
    name: str = "shop-reviews-1",
    labels: dict[str, str] | None = None,
    image: str = "reviews:1",
    exposed: tuple[str, ...] = (),
    published: tuple[str, ...] = (),
    mode: str = "shop_default",
    networks: dict[str, dict[str, Any]] | None = None,
    mounts: tuple[str, ...] = (),
    **state: Any,
) -> dict[str, Any]:
    """A Compose service's container unless `labels` say otherwise."""
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "reviews"}
    default_network = {"shop_default": {"IPAddress": "172.18.0.3", "Aliases": [name, "reviews", ID[:12]]}}
    return {
        "Id": ID,
        "Name": f"/{name}",
        "State": {"Status": "running", "Running": True, "Pid": 4242, **state},
        "Config": {
            "Image": image,
            "Labels": compose if labels is None else labels,
            "ExposedPorts": {port: {} for port in exposed} or None,
        },
        "HostConfig": {"NetworkMode": mode, "PortBindings": {port: [] for port in published}},
        "NetworkSettings": {"Networks": default_network if networks is None else networks},
        "HostsPath": f"/var/lib/docker/containers/{ID}/hosts",
        "Mounts": [{"Destination": destination} for destination in mounts],
    }
