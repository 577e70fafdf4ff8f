"""Decides what a group of callers sees of the mesh, and what becomes of calls to the rest: Sidecar.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TypeVar

from meshlite.model.external import port_protocol
from meshlite.model.names import ROOT_NAMESPACE, answers, canonical_namespace, resolve
from meshlite.model.networking import Destination, IstioEgressListener, Sidecar
from meshlite.translate.plan.attachment import Has
from meshlite.translate.plan.caller import Caller
from meshlite.translate.plan.catalog import Callee, Catalog, ServicePort, service_port
from meshlite.translate.plan.cluster import BLACK_HOLE, PASSTHROUGH
from meshlite.translate.plan.resources import Applied, Told
from meshlite.translate.plan.rules import fits

V = TypeVar("V")

OUTBOUND_MODES = {"ALLOW_ANY": PASSTHROUGH, "REGISTRY_ONLY": BLACK_HOLE}
"""What becomes of calls to what the mesh does not know, and the cluster that stands for it."""


@dataclass(frozen=True, slots=True)
class HostPattern:
    """`namespace` and `host` may be `*`; a host may have a leading wildcard."""

    namespace: str
    host: str

    def takes(self, namespace: str, names: Iterable[str]) -> bool:
        return self.namespace in ("*", namespace) and any(fits(self.host, name) for name in names)


@dataclass(frozen=True, slots=True)
class Imports:
    """What one egress listener lets in: what fits one of `wanted` and none of `unwanted`."""

    wanted: tuple[HostPattern, ...]
    unwanted: tuple[HostPattern, ...] = ()

    def take(self, namespace: str, names: tuple[str, ...]) -> bool:
        return any(one.takes(namespace, names) for one in self.wanted) and not any(
            one.takes(namespace, names) for one in self.unwanted
        )


EVERYTHING = Imports((HostPattern("*", "*"),))
NOTHING = Imports(())


LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Bound:
    """A port whose services are called at these addresses, and not at their own.

    `captured`: the addresses are dialled as any other; else they are the workload's own, and taken there.
    """

    port: ServicePort
    addresses: tuple[str, ...]
    captured: bool


@dataclass(frozen=True, slots=True)
class Scope:
    """`ports`: imports for one port each; `others` for all other ports. `bound`: some of these ports.

    `unknown`: the cluster for calls to what the mesh does not know, unless a `proxy` takes them: an FQDN, a
    subset, a port.
    """

    ports: tuple[tuple[int, Imports], ...] = ()
    others: Imports = EVERYTHING
    unknown: str = PASSTHROUGH
    proxy: tuple[str, str, int] | None = None
    bound: tuple[Bound, ...] = ()

    @property
    def whole(self) -> bool:
        return not self.ports and self.others == EVERYTHING

    def imports(self, port: int) -> Imports:
        return next((imports for number, imports in self.ports if number == port), self.others)

    def sees(self, namespace: str, names: tuple[str, ...]) -> bool:
        """Whether it is let in on some port."""
        every = (*(imports for _, imports in self.ports), self.others)
        return any(imports.take(namespace, names) for imports in every)


def scope(sidecars: tuple[Applied[Sidecar], ...], default: str, caller: Caller) -> Scope:
    """What these callers see. `default`: the mesh's own mode for what is unknown."""
    applied = applying(sidecars, caller.namespace, caller.has)
    if applied is None:
        return Scope(unknown=OUTBOUND_MODES[default])
    egress, namespace = applied.spec.egress, applied.namespace
    ports = ((one.port.number, _imports(one, namespace, caller)) for one in egress if one.port is not None)
    rest = next((_imports(one, namespace, caller) for one in egress if one.port is None), NOTHING)
    policy = applied.spec.outbound_traffic_policy
    return Scope(
        tuple(ports),
        rest if egress else EVERYTHING,
        OUTBOUND_MODES[policy.mode if policy is not None else default],
        _proxy(policy.egress_proxy, namespace) if policy is not None and policy.egress_proxy else None,
        tuple(_bound(egress)),
    )


def _bound(egress: tuple[IstioEgressListener, ...]) -> Iterator[Bound]:
    """Listeners that name an address, or that are not captured: those are on the loopback."""
    for one in egress:
        captured, wide = one.capture_mode != "NONE", one.bind in ("", "0.0.0.0", "::")
        if one.port is not None and not (captured and wide):
            port = service_port(one.port.number, port_protocol(one.port.protocol) or "auto", one.port.name)
            yield Bound(port, (str(ip_address(one.bind)),) if one.bind else LOOPBACK, captured)


def _proxy(proxy: Destination, namespace: str) -> tuple[str, str, int] | None:
    host = resolve(proxy.host, namespace)
    return (host, proxy.subset, proxy.port.number) if proxy.port is not None else None


def applying(sidecars: tuple[Applied[Sidecar], ...], namespace: str, has: Has) -> Applied[Sidecar] | None:
    """The one that selects these workloads, else their namespace's, else the root namespace's."""
    own = [one for one in sidecars if one.namespace == namespace]
    steps = (
        (one for one in own if _labels(one) and has(_labels(one))),
        (one for one in own if not _labels(one)),
        (one for one in sidecars if one.namespace == ROOT_NAMESPACE and not _labels(one)),
    )
    return next((one for step in steps for one in step), None)


def report_overlaid(sidecars: tuple[Applied[Sidecar], ...]) -> Told:
    """Of those for one whole namespace only the first applied counts."""
    first: dict[str, str] = {}
    told = []
    for one in (one for one in sidecars if not _labels(one)):
        owner = first.setdefault(one.namespace, one.key)
        if owner != one.key:
            reason = f"namespace {one.namespace} has {owner}, which was applied before: it has no effect"
            told.append((one.key, reason))
    return tuple(told)


def scoped(services: Catalog, scope: Scope) -> Catalog:
    """The part of the catalog that these callers see."""
    if scope.whole:
        return services
    seen = ((fqdn, _visible(service, scope)) for fqdn, service in services.services.items())
    return Catalog({fqdn: service for fqdn, service in seen if service is not None})


def _visible(service: Callee, scope: Scope) -> Callee | None:
    names = _names(service)
    ports = [port for port in service.ports if scope.imports(port).take(service.namespace, names)]
    if len(ports) == len(service.ports):
        return service if ports else None
    return replace(service, ports=_only(service.ports, ports), addressed=_only(service.addressed, ports))


def _names(service: Callee) -> tuple[str, ...]:
    return answers(service.fqdn, "")


def _only(values: Mapping[int, V], ports: Iterable[int]) -> Mapping[int, V]:
    return {port: values[port] for port in ports if port in values}


def _imports(listener: IstioEgressListener, namespace: str, caller: Caller) -> Imports:
    wanted: list[HostPattern] = []
    unwanted: list[HostPattern] = []
    for text in listener.hosts:
        space, _, host = text.partition("/")
        excluded = space.startswith("~")
        space = space.removeprefix("~") or "*"
        own = caller.namespace if namespace == ROOT_NAMESPACE else namespace
        pattern = HostPattern(own if space == "." else canonical_namespace(space), host.lower())
        (unwanted if excluded else wanted).append(pattern)
    return Imports(tuple(wanted), tuple(unwanted))


def _labels(one: Applied[Sidecar]) -> Mapping[str, str]:
    return one.spec.workload_selector.labels if one.spec.workload_selector is not None else {}


def selectors(sidecars: tuple[Applied[Sidecar], ...]) -> Iterator[Mapping[str, str]]:
    return (labels for labels in map(_labels, sidecars) if labels)
