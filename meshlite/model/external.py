"""What ServiceEntries declare, read off them: hosts with their addresses, ports and endpoints.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from pydantic import ValidationError

from meshlite.model.mesh import HostAddress, Resource
from meshlite.model.names import virtual_address
from meshlite.model.networking.service_entry import Location, Resolution, ServiceEntry, ServicePort
from meshlite.model.networking.workload_entry import WorkloadEntry
from meshlite.model.workload import Protocol

AUTO_ADDRESS = "networking.istio.io/enable-autoallocate-ip"
"""A label of ServiceEntries; `false`: their hosts get no virtual address."""

_PROTOCOLS: Mapping[str, Protocol] = {
    **{name: name for name in get_args(Protocol) if name != "auto"},
    "": "auto",
    "http_proxy": "http",
}


@dataclass(frozen=True)
class Part:
    """What one entry says of a host. `selector` None: its endpoints are those listed."""

    ports: tuple[ServicePort, ...]
    endpoints: tuple[WorkloadEntry, ...]
    selector: tuple[tuple[str, str], ...] | None

    def port(self, number: int) -> ServicePort | None:
        return next((port for port in self.ports if port.number == number), None)


@dataclass(frozen=True)
class External:
    """A host of one namespace, as all entries say that declare it. `keys`: those entries' resources.

    `addresses`: those it is dialled at, IP addresses and ranges; `allocated`: it is to get a virtual one
    instead.
    """

    host: str
    namespace: str
    resolution: Resolution
    location: Location
    addresses: tuple[str, ...]
    allocated: bool
    export_to: tuple[str, ...]
    subject_alt_names: tuple[str, ...]
    parts: tuple[Part, ...]
    keys: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.host}"

    @property
    def wildcard(self) -> bool:
        return self.host.startswith("*")

    @property
    def ports(self) -> Mapping[int, ServicePort]:
        """By number; the entry that was applied first says what a port is."""
        return {port.number: port for part in reversed(self.parts) for port in part.ports}


Complaint = tuple[str, str]
"""A resource's key, and what is wrong with it."""


def port_protocol(written: str) -> Protocol | None:
    """Istio's name of a protocol, in any case; None for an unknown one. Empty: to be detected."""
    return _PROTOCOLS.get(written.lower())


def allocates(spec: ServiceEntry, labels: Mapping[str, str]) -> bool:
    """Whether its hosts get virtual addresses: it has none of its own, and its callers need any."""
    wanted = labels.get(AUTO_ADDRESS, "").lower() != "false"
    return wanted and not spec.addresses and spec.resolution != "NONE"


def read(resources: Iterable[Resource]) -> tuple[External, ...]:
    """The hosts that resources of a mesh declare, the first applied first. Faulty ones declare nothing."""
    entries = sorted((r for r in resources if r.kind == "ServiceEntry"), key=lambda r: (r.sequence, r.key))
    return declared(tuple(_parsed(entries)))[0]


def _parsed(entries: Iterable[Resource]) -> Iterator[tuple[Resource, ServiceEntry]]:
    for resource in entries:
        try:
            yield resource, ServiceEntry.model_validate(resource.spec)
        except ValidationError:
            continue


def declared(
    entries: tuple[tuple[Resource, ServiceEntry], ...],
) -> tuple[tuple[External, ...], tuple[Complaint, ...]]:
    """Hosts of entries in order of application.

    Entries of one namespace that agree on a host add ports and endpoints to it; of those that do not agree,
    the first applied counts.
    """
    found: dict[str, External] = {}
    complaints: list[Complaint] = []
    for resource, spec in entries:
        for host in dict.fromkeys(name.lower().rstrip(".") for name in spec.hosts):
            one = _external(host, resource, spec)
            first = found.get(one.key)
            if first is None:
                found[one.key] = one
            elif difference := _difference(first, one):
                complaints.append((resource.key, f"host {host} is declared by {first.keys[0]}, {difference}"))
            else:
                found[one.key] = replace(first, parts=first.parts + one.parts, keys=first.keys + one.keys)
    return tuple(found.values()), tuple(complaints)


def _external(host: str, resource: Resource, spec: ServiceEntry) -> External:
    selector = spec.workload_selector
    chosen = tuple(sorted(selector.labels.items())) if selector is not None else None
    return External(
        host,
        resource.namespace,
        spec.resolution,
        spec.location,
        tuple(dict.fromkeys(_address(text) for text in spec.addresses)),
        allocates(spec, resource.labels),
        spec.export_to,
        spec.subject_alt_names,
        (Part(spec.ports, spec.endpoints, chosen),),
        (resource.key,),
    )


def _address(written: str) -> str:
    """A range of one address is that address."""
    try:
        network = ipaddress.ip_network(written, strict=False)
    except ValueError:
        return written
    return str(network.network_address if network.num_addresses == 1 else network)


def _difference(first: External, later: External) -> str:
    """Why two entries cannot be taken together; empty if they can."""
    for name, one, other in (
        ("resolution", first.resolution, later.resolution),
        ("location", first.location, later.location),
        ("addresses", first.addresses, later.addresses),
        ("exportTo", sorted(first.export_to), sorted(later.export_to)),
    ):
        if one != other:
            return f"which was applied before and has another {name}; here it has no effect"
    clash = next((p.name for p in later.ports.values() if _clashes(first.ports.get(p.number), p)), "")
    return f"which was applied before and has another protocol on port {clash}" if clash else ""


def _clashes(known: ServicePort | None, port: ServicePort) -> bool:
    return known is not None and port_protocol(known.protocol) != port_protocol(port.protocol)


def allocate(
    externals: Iterable[External], network: str, taken: Iterable[str], before: Iterable[HostAddress]
) -> tuple[HostAddress, ...]:
    """Virtual addresses for those that are to get one; `before` are kept, `taken` are not given.

    One that finds no free address goes without, and so do wildcards, which nobody could look up.
    """
    used = set(taken)
    wanted = {one.key: one for one in externals if one.allocated and not one.wildcard}
    kept = {one.key: one for one in before if one.key in wanted and one.address not in used}
    used.update(one.address for one in kept.values())
    for key, one in wanted.items():
        if key not in kept:
            try:
                address = virtual_address(key, network, used)
            except ValueError:
                continue
            used.add(address)
            kept[key] = HostAddress(host=one.host, namespace=one.namespace, address=address)
    return tuple(kept[key] for key in sorted(kept))
