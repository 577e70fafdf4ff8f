"""How lists tell of a service: how many of its endpoints are ready, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlite.cli.output import BAD, DIM, GOOD, WARN, paint, plain

_UNCOUNTED = {"NONE": "as dialled", "DNS": "by DNS", "DNS_ROUND_ROBIN": "by DNS", "DYNAMIC_DNS": "by DNS"}
"""Resolutions of a ServiceEntry that leave it to the proxy what stands behind a host."""


def ready(service: Mapping[str, Any], ready: int, total: int) -> str:
    """A cell: endpoints that get calls of all, where the server knows them."""
    if total and not service["ports"]:
        return paint("no port", DIM)
    if words := _UNCOUNTED.get(service.get("resolution", "")):
        return plain(words)
    colour = GOOD if total and ready == total else WARN if ready else BAD
    return paint(f"{ready}/{total}", colour)


def origin(service: Mapping[str, Any]) -> str:
    """A cell: what runs, or the resources that declare it."""
    return plain(", ".join(told(key) for key in service.get("declared_by", ())) or "workloads")


def mode(service: Mapping[str, Any]) -> str:
    """A cell: who may come in without a mesh identity; nothing where no workload stands behind it."""
    return "-" if service["mode"] == "none" else str(service["mode"])


def told(key: str) -> str:
    """`ServiceEntry/shop/api` -> `ServiceEntry shop/api`."""
    kind, _, name = key.partition("/")
    return f"{kind} {name}"
