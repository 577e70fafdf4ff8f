"""ServiceEntries that need addresses, or contradict each other: IST0134, IST0177."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import ADDRESSES_REQUIRED, ENTRY_PROTOCOLS
from meshlite.model.analysis.hosts import scopes
from meshlite.model.analysis.scene import Finding, Scene, Subject, finding, listed
from meshlite.model.networking import ServiceEntry

Spot = tuple[str, str, int]


def service_entry_addresses(scene: Scene) -> Iterator[Finding]:
    """TCP has no name in it: without an address nobody can tell whom a connection is for."""
    if scene.mesh.addresses_allocated:
        return
    for entry in scene.all(ServiceEntry):
        for place, port in enumerate(entry.spec.ports if not entry.spec.addresses else ()):
            if port.protocol.upper() in ("", "TCP"):
                at = ("spec", "ports", place, "protocol")
                reason = f"TCP is told apart by addresses: port {port.number} needs some"
                yield finding(ADDRESSES_REQUIRED, entry, at, reason)


def service_entry_protocols(scene: Scene) -> Iterator[Finding]:
    declared: dict[Spot, list[tuple[str, Subject[ServiceEntry]]]] = {}
    for entry in scene.all(ServiceEntry):
        for scope in scopes(entry.spec.export_to, entry.namespace):
            for host in entry.spec.hosts:
                for port in entry.spec.ports:
                    spot = (scope, host, port.number)
                    declared.setdefault(spot, []).append((port.protocol.upper(), entry))
    told: set[str] = set()
    for (scope, host, number), entries in declared.items():
        everywhere = [] if scope == "*" else declared.get(("*", host, number), [])
        together = [*entries, *everywhere]
        protocols = {protocol for protocol, _ in together}
        for _, entry in together if len(protocols) > 1 else ():
            if entry.key not in told:
                told.add(entry.key)
                names = listed(other.title for _, other in together if other.key != entry.key)
                reason = f"port {number} of {host} is {listed(protocols)}: see {names}"
                yield finding(ENTRY_PROTOCOLS, entry, ("spec", "ports"), reason)
