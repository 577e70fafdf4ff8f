"""Decides whose configuration each patch of an EnvoyFilter is about, and in which order patches come.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import re2

from meshlite.model.names import ROOT_NAMESPACE, resolve_known
from meshlite.model.networking import EnvoyConfigObjectPatch, EnvoyFilter
from meshlite.model.networking.envoy_filter import (
    ApplyTo,
    ClusterMatch,
    ListenerMatch,
    Operation,
    ProxyMatch,
    RouteConfigurationMatch,
)
from meshlite.translate.plan.attachment import Side
from meshlite.translate.plan.resources import Applied

ISTIO_VERSION = "1.30.0"
"""The Istio whose shapes and names the configuration has; what `proxyVersion` is compared with."""

Context = Literal["SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY"]

LISTENERS: frozenset[str] = frozenset(
    {"LISTENER", "LISTENER_FILTER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "EXTENSION_CONFIG"}
)
ROUTES: frozenset[str] = frozenset({"ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"})
CLUSTERS: frozenset[str] = frozenset({"CLUSTER"})


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch of a resource. `value` is a message of Envoy's API in JSON form, {} for none."""

    key: str
    place: int
    namespace: str
    spec: EnvoyConfigObjectPatch

    @property
    def apply_to(self) -> ApplyTo:
        return self.spec.apply_to

    @property
    def operation(self) -> Operation:
        return self.spec.patch.operation if self.spec.patch is not None else "INVALID"

    @property
    def value(self) -> dict[str, Any]:
        return (self.spec.patch.value if self.spec.patch is not None else None) or {}

    @property
    def context(self) -> str:
        return self.spec.match.context if self.spec.match is not None else "ANY"

    @property
    def listener(self) -> ListenerMatch | None:
        return self.spec.match.listener if self.spec.match is not None else None

    @property
    def routes(self) -> RouteConfigurationMatch | None:
        return self.spec.match.route_configuration if self.spec.match is not None else None

    @property
    def cluster(self) -> ClusterMatch | None:
        return self.spec.match.cluster if self.spec.match is not None else None

    @property
    def proxy(self) -> ProxyMatch | None:
        return self.spec.match.proxy if self.spec.match is not None else None

    @property
    def adds(self) -> bool:
        """A resource of its own; INSERT_ means the same where resources have no order."""
        whole = self.apply_to in ("LISTENER", "CLUSTER")
        return whole and (self.operation == "ADD" or self.operation.startswith("INSERT_"))

    def within(self, context: Context) -> bool:
        """What is added without a context is added for what goes out, or it would be there twice."""
        if self.adds and self.context == "ANY":
            return context != "SIDECAR_INBOUND"
        return self.context in ("ANY", context)


@dataclass(frozen=True, slots=True)
class Added:
    """A cluster to be added. `services`: FQDNs by each text in it that names a service of the mesh."""

    patch: Patch
    services: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AddedListener:
    """A listener to be added, in the network namespace of one workload; `key` tells it from another's."""

    patch: Patch
    key: str
    path: str


def ordered(filters: tuple[Applied[EnvoyFilter], ...]) -> tuple[Applied[EnvoyFilter], ...]:
    """Lower priorities first, then the root namespace's, then in order of application."""
    return tuple(sorted(filters, key=lambda one: (one.spec.priority, one.namespace != ROOT_NAMESPACE)))


def selected(
    filters: tuple[Applied[EnvoyFilter], ...], side: Side, context: Context, metadata: Mapping[str, str]
) -> tuple[Patch, ...]:
    """The patches for one side of workloads, in order."""
    return tuple(
        patch
        for one in filters
        if side.chosen(one.namespace, _labels(one), one.spec.target_refs)
        for patch in _patches(one)
        if patch.within(context) and _runs(patch.proxy, metadata)
    )


def of(patches: tuple[Patch, ...], kinds: frozenset[str]) -> tuple[Patch, ...]:
    """Those for whole resources that are there; what is added stands elsewhere."""
    return tuple(patch for patch in patches if patch.apply_to in kinds and not patch.adds)


def added(patches: tuple[Patch, ...], kinds: frozenset[str]) -> tuple[Patch, ...]:
    return tuple(patch for patch in patches if patch.apply_to in kinds and patch.adds)


def about(patches: tuple[Patch, ...], fqdn: str) -> bool:
    """Whether one of these cluster patches may be about the clusters of a service."""
    return any(_may_be(patch.cluster, fqdn) for patch in patches)


def inward(patches: tuple[Patch, ...], fqdn: str) -> tuple[Patch, ...]:
    """Those that may be about what enters a workload of the service; others are for any direction, but name
    a cluster or a virtual host that only callers have."""
    return tuple(patch for patch in patches if _enters(patch, fqdn))


def _enters(patch: Patch, fqdn: str) -> bool:
    cluster, routes = patch.cluster, patch.routes
    if cluster is not None:
        return cluster.name.startswith("inbound|") if cluster.name else cluster.service in ("", fqdn)
    if routes is not None:
        host = routes.vhost.name if routes.vhost is not None else ""
        return all(name.startswith("inbound|") for name in (routes.name, host) if name)
    return True


def mentioned(patch: Patch, known: Mapping[str, object]) -> Added:
    """The patch with the services that its value names."""
    texts = sorted(set(_texts(patch.value)))
    found = ((text, resolve_known(text, patch.namespace, known)) for text in texts)
    return Added(patch, tuple((text, fqdn) for text, fqdn in found if fqdn in known))


def selectors(filters: tuple[Applied[EnvoyFilter], ...]) -> Iterator[Mapping[str, str]]:
    """Labels that tell callers apart: those of filters that touch what goes out."""
    for one in filters:
        if _labels(one) and any(patch.within("SIDECAR_OUTBOUND") for patch in _patches(one)):
            yield _labels(one)


def _labels(one: Applied[EnvoyFilter]) -> Mapping[str, str]:
    return one.spec.workload_selector.labels if one.spec.workload_selector is not None else {}


def _patches(one: Applied[EnvoyFilter]) -> Iterator[Patch]:
    for place, patch in enumerate(one.spec.config_patches):
        yield Patch(one.key, place, one.namespace, patch)


def _runs(match: ProxyMatch | None, metadata: Mapping[str, str]) -> bool:
    if match is None:
        return True
    if match.proxy_version and not re2.search(match.proxy_version, ISTIO_VERSION):
        return False
    return all(metadata.get(key) == value for key, value in match.metadata.items())


def _may_be(match: ClusterMatch | None, fqdn: str) -> bool:
    if match is None:
        return True
    if match.name:
        return match.name.endswith(f"|{fqdn}")
    return match.service in ("", fqdn)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
