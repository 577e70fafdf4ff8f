"""Patches of EnvoyFilters that depend on an order nobody gave, or do nothing: IST0151 to IST0155."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import (
    ADD_OPERATION,
    RELATIVE_BY_VERSION,
    RELATIVE_OPERATION,
    REMOVE_OPERATION,
    REPLACE_OPERATION,
)
from meshlite.model.analysis.scene import Finding, Scene, finding
from meshlite.model.networking.envoy_filter import EnvoyConfigObjectPatch, EnvoyFilter

_ROUTES = ("ROUTE_CONFIGURATION", "HTTP_ROUTE")
_REPLACEABLE = ("NETWORK_FILTER", "HTTP_FILTER", "VIRTUAL_HOST")
_RELATIVE = ("REMOVE", "REPLACE", "INSERT_BEFORE", "INSERT_AFTER")
_ORDER = "depends on the order of EnvoyFilters: set priority, or use INSERT_FIRST or ADD"


def envoy_filter_patches(scene: Scene) -> Iterator[Finding]:
    versioned: set[str] = set()
    for subject in scene.all(EnvoyFilter):
        for place, patch in enumerate(subject.spec.config_patches):
            if patch.patch is None:
                break
            at = ("spec", "configPatches", place, "patch", "operation")
            operation, name = patch.patch.operation, _patched(patch)
            if operation in ("ADD", "REMOVE") and patch.apply_to in _ROUTES:
                code = ADD_OPERATION if operation == "ADD" else REMOVE_OPERATION
                yield finding(code, subject, at, f"{operation} has no effect on {patch.apply_to}")
            elif operation == "REPLACE" and patch.apply_to not in _REPLACEABLE:
                reason = f"REPLACE is for filters and virtual hosts, not for {patch.apply_to}"
                yield finding(REPLACE_OPERATION, subject, at, reason)
            elif operation in _RELATIVE and not subject.spec.priority:
                code = RELATIVE_BY_VERSION if name in versioned else RELATIVE_OPERATION
                yield finding(code, subject, at, f"{operation} {_ORDER}")
            if patch.match and patch.match.proxy and patch.match.proxy.proxy_version:
                versioned.add(name)


def _patched(patch: EnvoyConfigObjectPatch) -> str:
    """The name of the filter that a patch is about."""
    value = patch.patch.value if patch.patch else None
    if not value:
        return ""
    if "name" in value:
        return str(value["name"])
    listener = patch.match.listener if patch.match else None
    chain = listener.filter_chain if listener else None
    return chain.filter.name if chain and chain.filter else ""
