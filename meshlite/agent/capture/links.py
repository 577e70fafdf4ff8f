"""Private links: the veth pair between the host and a captured namespace, as input for `ip -batch`. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from meshlite.agent.capture.rules import HOST_LINKS, LINK

METADATA = ipaddress.IPv4Network("169.254.169.0/24")
"""Clouds answer there; a workload must still reach it."""
FALLBACK_TABLE = 28012
FALLBACK_PREFERENCE = 40000


@dataclass(frozen=True)
class Link:
    """`interface`: its host end; `address`: its end in the namespace (`mesh0`); `host`: the other address."""

    interface: str
    address: str
    host: str


def plan(key: str, network: str, taken: Collection[str]) -> Link:
    """The link of a namespace: drawn from its key, the next free address where that is taken.

    All host ends share one address. Raises ValueError when the network is full.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    interface = f"{HOST_LINKS}{digest.hex()[:10]}"
    for address in _candidates(ipaddress.IPv4Network(network), int.from_bytes(digest, "big")):
        if address not in taken:
            return Link(interface, address, host_address(network))
    raise ValueError(f"no free link address left in {network}")


def host_address(network: str) -> str:
    """The first address of the network; its whole first /24 is kept free of links."""
    return str(ipaddress.IPv4Network(network).network_address + 1)


def _candidates(network: ipaddress.IPv4Network, start: int) -> Iterator[str]:
    """All but the first and last /24, which RFC 3927 reserves, and the clouds' metadata addresses."""
    first, usable = 256, network.num_addresses - 512
    for step in range(max(0, usable)):
        address = network.network_address + first + (start + step) % usable
        if address not in METADATA:
            yield str(address)


def namespace_batch(link: Link, host_namespace: str, virtual_network: str) -> str:
    """Makes the link from inside the namespace; its other end appears in `host_namespace` (a path), down.

    The hardware address is given, since udev replaces random ones some time after they were made. The rule at
    the end only counts where no route does: it lets a workload on an internal network, which has no default
    route, call virtual addresses at all.
    """
    lines = [
        f"link add {LINK} address {_mac(link, 'workload')} type veth "
        f"peer name {link.interface} address {_mac(link, 'host')} netns {host_namespace}",
        f"link set {LINK} addrgenmode none up",
        f"address add {link.address} peer {link.host}/32 dev {LINK} scope link",
        f"route add {virtual_network} dev {LINK} table {FALLBACK_TABLE}",
        f"rule add preference {FALLBACK_PREFERENCE} lookup {FALLBACK_TABLE}",
    ]
    return "\n".join(lines) + "\n"


def fallback6(virtual_network6: str) -> str:
    """The same fallback for the IPv6 forms of virtual addresses. For `ip -6`, where there is IPv6."""
    return (
        f"route add {virtual_network6} dev {LINK} table {FALLBACK_TABLE}\n"
        f"rule add preference {FALLBACK_PREFERENCE} lookup {FALLBACK_TABLE}\n"
    )


def removal_batch6() -> str:
    """What `removal_batch` leaves of that. For `ip -6 -force`."""
    return f"rule delete preference {FALLBACK_PREFERENCE}\n"


def host_batch(link: Link) -> str:
    """Takes the link's host end into use."""
    lines = [
        f"link set {link.interface} addrgenmode none up",
        f"address add {link.host} peer {link.address}/32 dev {link.interface} scope link",
    ]
    return "\n".join(lines) + "\n"


def removal_batch() -> str:
    """Takes the link away from inside the namespace; its host end goes with it. For `ip -force`."""
    return f"link delete {LINK}\nrule delete preference {FALLBACK_PREFERENCE}\n"


def deletion_batch(interfaces: Iterable[str]) -> str:
    """Takes links away from the host's side. For `ip -force`."""
    return "".join(f"link delete {interface}\n" for interface in sorted(interfaces))


def _mac(link: Link, end: str) -> str:
    """A locally administered address."""
    digest = hashlib.blake2b(f"{link.interface} {end}".encode(), digest_size=5).digest()
    return ":".join(f"{byte:02x}" for byte in b"\x02" + digest)
