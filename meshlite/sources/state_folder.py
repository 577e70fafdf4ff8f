"""A container's record from the engine's own state folder, for the moment when the engine cannot be asked.

The files are the engine's private ones (stable since 1.9); whoever reads them must cope with None.
"""

from __future__ import annotations

import json
from pathlib import Path

from meshlite.sources.engine import Record


def read_record(containers: Path, container: str) -> Record | None:
    """The record of `container` in the shape of GET /containers/{id}/json; None where it cannot be read."""
    folder = containers / container
    try:
        config = json.loads((folder / "config.v2.json").read_bytes())
        host_config = json.loads((folder / "hostconfig.json").read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or not isinstance(host_config, dict):
        return None
    return {
        "Id": container,
        "Name": config.get("Name", ""),
        "Config": config.get("Config") or {},
        "HostConfig": host_config,
        "NetworkSettings": config.get("NetworkSettings") or {},
        "HostsPath": config.get("HostsPath") or _hosts_file(containers, container, host_config),
        "Mounts": list((config.get("MountPoints") or {}).values()),
        "State": {"Running": True},
    }


def _hosts_file(containers: Path, container: str, host_config: Record) -> str:
    """Where the engine puts it; a container that joins another's namespace has that one's."""
    mode = str(host_config.get("NetworkMode", ""))
    owner = mode.removeprefix("container:") if mode.startswith("container:") else container
    path = containers / owner / "hosts"
    return str(path) if path.exists() else ""
