"""Which resources shape a service, in which way, and in the order in which a request meets them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshlite.model.made import made_from
from meshlite.model.mesh import Resource, Service
from meshlite.model.names import ROOT_NAMESPACE, resolve_known
from meshlite.model.wire import Shape
from meshlite.model.workload import Workload

ORDER = (
    "ServiceEntry",
    "WorkloadEntry",
    "VirtualService",
    "DestinationRule",
    "PeerAuthentication",
    "RequestAuthentication",
    "AuthorizationPolicy",
    "WasmPlugin",
    "TrafficExtension",
    "EnvoyFilter",
    "Telemetry",
    "ProxyConfig",
    "Sidecar",
)
"""As a request meets them; last what is about the calls that the service makes itself."""

_SELECTING = {
    "PeerAuthentication": "says who may connect",
    "RequestAuthentication": "says whose tokens are good",
    "AuthorizationPolicy": "says who may do what",
    "WasmPlugin": "extends its proxy",
    "TrafficExtension": "extends its proxy",
    "EnvoyFilter": "changes its proxy's configuration",
    "Telemetry": "says what is observed",
    "ProxyConfig": "is for a proxy of its own, which it does not have",
    "Sidecar": "says what it may call",
}
"""Kinds that choose workloads, and what they do for them."""

_ROOT_SELECTS_NOBODY = ("PeerAuthentication",)
"""In the root namespace these are for the mesh, and with a selector for nobody."""


@dataclass(frozen=True)
class Shaped:
    """A service, or a host with the keys of the ServiceEntries that declare it.

    `entries`: keys of WorkloadEntries that may stand behind it.
    """

    name: str
    namespace: str
    fqdn: str
    declared: tuple[str, ...] = ()
    entries: frozenset[str] = frozenset()


def shaping(
    service: Shaped,
    workloads: Iterable[Workload],
    resources: Iterable[Resource],
    known: Mapping[str, Service],
) -> tuple[Shape, ...]:
    """In the order of ORDER; within a kind the first applied first. What was made goes by what it is from."""
    members = tuple(workloads)
    found = [
        (resource, role)
        for resource in resources
        if resource.kind in ORDER and (role := _role(resource, service, members, known))
    ]
    found.sort(key=lambda pair: (ORDER.index(pair[0].kind), pair[0].sequence, pair[0].key))
    roles: dict[str, str] = {}
    for resource, role in found:
        for key in made_from(resource.annotations) or (resource.key,):
            roles.setdefault(key, role)
    return tuple(Shape(resource=key, role=role) for key, role in roles.items())


def referred(resources: Iterable[Resource], known: Mapping[str, Service]) -> frozenset[str]:
    """FQDNs that resources name; not those that a wildcard covers, or a selector finds."""
    return frozenset(
        resolve_known(host, resource.namespace, known)
        for resource in resources
        if resource.kind not in _SELECTING
        for host in (*_list(resource.spec.get("hosts")), *_destinations(resource.spec))
        if isinstance(host, str)
    )


def _role(
    resource: Resource, service: Shaped, workloads: tuple[Workload, ...], known: Mapping[str, Service]
) -> str:
    """What the resource does for the service; empty if nothing."""
    if resource.kind in _SELECTING:
        return _SELECTING[resource.kind] if _selects(resource, service, workloads) else ""
    spec = resource.spec

    def names(*hosts: object) -> bool:
        return any(
            _covers(resolve_known(host, resource.namespace, known), service.fqdn)
            for host in hosts
            if isinstance(host, str)
        )

    if resource.kind == "DestinationRule":
        return "says how it is called" if names(spec.get("host")) else ""
    if resource.kind == "ServiceEntry":
        return _declaring(service, resource.key, names(*_list(spec.get("hosts"))))
    if resource.kind == "WorkloadEntry":
        return "is one of its endpoints" if resource.key in service.entries else ""
    if resource.kind == "VirtualService":
        return _routing(spec, names(*_list(spec.get("hosts"))), names(*_destinations(spec)))
    return ""


def _declaring(service: Shaped, key: str, named: bool) -> str:
    if key in service.declared:
        return "declares it"
    return "declares its host, too" if named else ""


def _routing(spec: Mapping[str, object], named: bool, reached: bool) -> str:
    gateways = [str(name) for name in _list(spec.get("gateways"))]
    others = ", ".join(name for name in gateways if name != "mesh")
    if named and (not gateways or "mesh" in gateways):
        return "routes its requests" + (f", also at gateways {others}" if others else "")
    if reached:
        return f"sends to it from gateways {others}" if others else "sends to it what others are asked"
    return ""


def _selects(resource: Resource, service: Shaped, workloads: tuple[Workload, ...]) -> bool:
    root = resource.namespace == ROOT_NAMESPACE
    if not root and resource.namespace != service.namespace:
        return False
    if targets := _targets(resource.spec):
        return resource.namespace == service.namespace and bool(targets & _as_target(service))
    if service.declared and not workloads:
        return False
    labels = _selector(resource.spec)
    if not labels:
        return True
    if root and service.namespace != ROOT_NAMESPACE and resource.kind in _ROOT_SELECTS_NOBODY:
        return False
    return any(labels.items() <= _labels(workload).items() for workload in workloads)


def _targets(spec: Mapping[str, object]) -> frozenset[tuple[str, str]]:
    """Kinds and names of what a policy is attached to."""
    rows = [*_list(spec.get("targetRefs")), spec.get("targetRef")]
    return frozenset((str(row.get("kind")), str(row.get("name"))) for row in rows if isinstance(row, dict))


def _as_target(service: Shaped) -> frozenset[tuple[str, str]]:
    if not service.declared:
        return frozenset({("Service", service.name)})
    return frozenset(("ServiceEntry", key.rpartition("/")[2]) for key in service.declared)


def _selector(spec: Mapping[str, object]) -> Mapping[str, Any]:
    for name, field in (("selector", "matchLabels"), ("workloadSelector", "labels")):
        chosen = spec.get(name)
        labels = chosen.get(field) if isinstance(chosen, dict) else None
        if isinstance(labels, dict) and labels:
            return labels
    return {}


def _labels(workload: Workload) -> dict[str, str]:
    version = {"version": workload.version} if workload.version else {}
    return {"app": workload.service} | version | workload.labels


def _covers(host: str, fqdn: str) -> bool:
    return host in (fqdn, "*") or (host.startswith("*.") and fqdn.endswith(host[1:]))


def _destinations(value: object) -> Iterator[object]:
    """Every `host` of a destination in a VirtualService, however deep."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "host":
                yield item
            else:
                yield from _destinations(item)
    elif isinstance(value, list):
        for item in value:
            yield from _destinations(item)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
