"""Where UDP and ICMP go: for every virtual address one replica that a namespace can reach by itself. Pure.

The node proxy carries TCP only. Without a mesh a name means a replica's address in a network that both are
in; so it is here, in the kernel's rules of each namespace.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from meshlite.model.mesh import Service
from meshlite.model.names import virtual_forms
from meshlite.model.workload import Found, Health, Workload

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_RANK: Mapping[Health, int] = {"healthy": 0, "starting": 1, "unhealthy": 1, "draining": 2}

parsed = lru_cache(maxsize=4096)(ipaddress.ip_interface)


@dataclass(frozen=True)
class Peers:
    """All replicas of this node with their addresses, and the virtual addresses that lead to them.

    `interfaces`: by namespace, also of containers that are not in the mesh: what joined such a namespace is
    reached by its owner's addresses.
    """

    virtual: Mapping[str, tuple[str, ...]]
    replicas: Mapping[str, tuple[tuple[Workload, str], ...]]
    interfaces: Mapping[str, tuple[Interface, ...]]

    def of(self, namespace: str) -> Mapping[str, str]:
        """Virtual address -> a replica's, for callers in `namespace` (its key). Absent: it reaches none.

        Of several healthy ones each namespace has its own choice, which the others' coming and going leaves.
        """
        own = self.interfaces.get(namespace, ())
        found: dict[str, str] = {}
        for fqdn, replicas in self.replicas.items():
            for address in self.virtual.get(fqdn, ()):
                near = [
                    (_RANK[workload.health], _drawn(namespace, workload.id), str(there.ip))
                    for workload, key in replicas
                    for there in self.interfaces.get(key, ())
                    if (there.version == 6) == (":" in address)
                    and any(there.ip in here.network for here in own)
                ]
                if near:
                    found[address] = min(near)[2]
        return found


def peers(
    services: Iterable[Service], found: Iterable[Found], members: Iterable[Found], network6: str
) -> Peers:
    """`members`: who of those found is in the mesh; `network6`: where virtual addresses have IPv6 forms."""
    interfaces: dict[str, tuple[Interface, ...]] = {}
    for one in found:
        if one.namespace is not None and one.interfaces:
            before = interfaces.get(one.namespace.key, ())
            interfaces[one.namespace.key] = (*before, *map(parsed, one.interfaces))
    replicas: dict[str, list[tuple[Workload, str]]] = {}
    for one in members:
        called = one.workload.aliases or one.workload.ports
        if one.namespace is not None and called:
            replicas.setdefault(one.workload.service_fqdn, []).append((one.workload, one.namespace.key))
    return Peers(
        {service.fqdn: virtual_forms(service.address, network6) for service in services},
        {fqdn: tuple(group) for fqdn, group in replicas.items()},
        interfaces,
    )


def _drawn(namespace: str, workload: str) -> bytes:
    """The order in which a namespace prefers replicas: another one for each namespace."""
    return hashlib.blake2b(f"{namespace} {workload}".encode(), digest_size=8).digest()
