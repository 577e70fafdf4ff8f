"""Istio's verdict on an EnvoyFilter, as far as it needs no knowledge of Envoy's messages."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.networking.envoy_filter import (
    EnvoyConfigObjectMatch,
    EnvoyConfigObjectPatch,
    EnvoyFilter,
    FilterMatch,
)
from meshlite.model.rules import forms
from meshlite.model.rules.labels import selected
from meshlite.model.rules.targets import target

MANAGER = ("envoy.filters.network.http_connection_manager", "envoy.http_connection_manager")

_SPEC: Path = ("spec",)
_OF_LISTENERS = ("LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER")
_OF_ROUTES = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")
_LONGEST_PATTERN = 1024


def envoy_filter(spec: EnvoyFilter, resource: Resource) -> Iterator[Fault]:
    yield from selected(spec.workload_selector, (*_SPEC, "workloadSelector"))
    if spec.workload_selector is not None and spec.target_refs:
        yield Fault((*_SPEC, "targetRefs"), "and workloadSelector exclude each other: set one of them")
    for place, reference in enumerate(spec.target_refs):
        yield from target(reference, (*_SPEC, "targetRefs", place))
    for place, patch in enumerate(spec.config_patches):
        yield from _patch(patch, (*_SPEC, "configPatches", place))


def _patch(one: EnvoyConfigObjectPatch, at: Path) -> Iterator[Fault]:
    if one.match is not None:
        yield from _waypoint(one.match, (*at, "match"))
    if one.apply_to == "INVALID":
        yield Fault((*at, "applyTo"), "is required")
        return
    if one.patch is None:
        yield Fault((*at, "patch"), "is required")
        return
    if one.patch.operation == "INVALID":
        yield Fault((*at, "patch", "operation"), "is required")
    elif one.patch.operation != "REMOVE" and one.patch.value is None:
        yield Fault((*at, "patch", "value"), f"is required for operation {one.patch.operation}")
    if one.match is not None:
        yield from _match(one.apply_to, one.match, (*at, "match"))


def _waypoint(match: EnvoyConfigObjectMatch, at: Path) -> Iterator[Fault]:
    if (match.context == "WAYPOINT") != (match.waypoint is not None):
        yield Fault((*at, "waypoint"), "goes together with context WAYPOINT")


def _match(apply_to: str, match: EnvoyConfigObjectMatch, at: Path) -> Iterator[Fault]:
    if match.proxy is not None and match.proxy.proxy_version:
        yield from _version(match.proxy.proxy_version, (*at, "proxy", "proxyVersion"))
    objects = {
        "listener": match.listener,
        "routeConfiguration": match.route_configuration,
        "cluster": match.cluster,
    }
    wanted = _wanted(apply_to)
    for name in (name for name, value in objects.items() if value is not None and wanted not in ("", name)):
        yield Fault((*at, name), f"is not what applyTo {apply_to} is about: write {wanted}")
    chain = match.listener.filter_chain if match.listener is not None else None
    if chain is not None and chain.filter is not None and apply_to in _OF_LISTENERS:
        yield from _filter(apply_to, chain.filter, (*at, "listener", "filterChain", "filter"))


def _wanted(apply_to: str) -> str:
    if apply_to in _OF_LISTENERS:
        return "listener"
    if apply_to in _OF_ROUTES:
        return "routeConfiguration"
    return "cluster" if apply_to == "CLUSTER" else ""


def _version(pattern: str, at: Path) -> Iterator[Fault]:
    if len(pattern) > _LONGEST_PATTERN:
        yield Fault(at, f"is longer than {_LONGEST_PATTERN} characters: no proxy matches", warning=True)
    elif reason := forms.pattern(pattern):
        yield Fault(at, reason)


def _filter(apply_to: str, match: FilterMatch, at: Path) -> Iterator[Fault]:
    if apply_to in ("LISTENER", "FILTER_CHAIN"):
        yield Fault(at, f"has no effect with applyTo {apply_to}", warning=True)
    if not match.name:
        yield Fault((*at, "name"), "is required")
    elif match.sub_filter is not None:
        if apply_to != "HTTP_FILTER":
            yield Fault((*at, "subFilter"), "needs applyTo HTTP_FILTER")
        elif match.name not in MANAGER:
            yield Fault((*at, "name"), f"must be {MANAGER[0]}, which is what has subfilters")
        elif not match.sub_filter.name:
            yield Fault((*at, "subFilter", "name"), "is required")
