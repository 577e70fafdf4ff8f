"""Names of services: which ones a service answers to, and the stable virtual address it gets."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection, Iterator

ROOT_NAMESPACE = "meshlite-system"
ROOT_ALIASES = frozenset({"istio-system"})
CLUSTER_SUFFIX = "svc.cluster.local"
GATEWAY_API = "gateway.networking.k8s.io"
INGRESS_GATEWAY, EGRESS_GATEWAY = "istio-ingressgateway", "istio-egressgateway"
"""The gateways that every node has, under Istio's names, in the root namespace."""


def kind_key(group: str, kind: str) -> str:
    """What names a kind in a resource's key: the kind alone, but for Gateway API's own Gateway."""
    return f"{kind}.{group}" if (group, kind) == (GATEWAY_API, "Gateway") else kind


def canonical_namespace(namespace: str) -> str:
    """The namespace itself; Istio's root namespace is taken for ours, so its samples apply unmodified."""
    return ROOT_NAMESPACE if namespace in ROOT_ALIASES else namespace


def fqdn(service: str, namespace: str) -> str:
    """`reviews`, `shop` -> `reviews.shop.svc.cluster.local`: the one name used inside the mesh."""
    return f"{service}.{namespace}.{CLUSTER_SUFFIX}"


def gateway_hosts() -> frozenset[str]:
    """FQDNs of the gateways that every node has; they are there before any workload is."""
    return frozenset(fqdn(name, ROOT_NAMESPACE) for name in (INGRESS_GATEWAY, EGRESS_GATEWAY))


def qualified_names(service: str, namespace: str) -> tuple[str, ...]:
    """Names that any workload of the mesh may call, shortest first; those of the root namespace twice."""
    aliases = sorted(ROOT_ALIASES) if namespace == ROOT_NAMESPACE else ()
    dotted = [f"{service}.{place}" for place in (namespace, *aliases)]
    return tuple(
        name for one in dotted for name in (one, f"{one}.svc", f"{one}.{CLUSTER_SUFFIX}", f"{one}.mesh")
    )


def answers(host: str, namespace: str) -> tuple[str, ...]:
    """All names that mean `host`, a FQDN or an outside name, to callers in `namespace`."""
    service, _, home = host.removesuffix(f".{CLUSTER_SUFFIX}").partition(".")
    if not host.endswith(f".{CLUSTER_SUFFIX}") or not home or "." in home or "*" in host:
        return (host,)
    return (*((service,) if home == namespace else ()), *qualified_names(service, home))


def resolve(host: str, namespace: str) -> str:
    """A host as written in a resource of `namespace` -> its FQDN. Wildcards, addresses, external names stay.

    `reviews` -> `reviews.<namespace>.svc.cluster.local`; `reviews.shop`, `.svc`, `.mesh` forms likewise. A
    name of two labels is taken for service.namespace only by `resolve_known`, since it may be external.
    """
    host = host.rstrip(".").lower()
    if host.endswith("." + CLUSTER_SUFFIX) or "*" in host:
        return _canonical(host)
    if "." not in host:
        return fqdn(host, canonical_namespace(namespace)) if host else host
    for suffix in (".svc", ".mesh"):
        stem = host.removesuffix(suffix)
        if stem != host and stem.count(".") == 1:
            return _canonical(f"{stem}.{CLUSTER_SUFFIX}")
    return host


def _canonical(fqdn: str) -> str:
    """A FQDN below the root namespace's alias -> below the root namespace; any other as it is."""
    stem = fqdn.removesuffix(f".{CLUSTER_SUFFIX}")
    service, _, namespace = stem.rpartition(".")
    if stem == fqdn or namespace not in ROOT_ALIASES:
        return fqdn
    return f"{service}.{canonical_namespace(namespace)}.{CLUSTER_SUFFIX}"


def resolve_known(host: str, namespace: str, known: Collection[str]) -> str:
    """Like `resolve`, and `service.namespace` too where that service is in `known` (FQDNs, outside names).

    A name without dots that no service of the namespace has may be one that a ServiceEntry declares.
    """
    resolved = resolve(host, namespace)
    if resolved.count(".") == 1:
        full = _canonical(f"{resolved}.{CLUSTER_SUFFIX}")
        return full if full in known else resolved
    if "." not in host and resolved not in known and host.lower() in known:
        return host.lower()
    return resolved


def virtual_address(name: str, network: str, taken: Collection[str]) -> str:
    """A service's address: drawn from its FQDN, the next free one where that is taken.

    Server and agents draw alike, so an agent that is cut off gives a new service the address that the server
    will most likely give it too. Raises ValueError when the network is full.
    """
    for candidate in _candidates(name, ipaddress.IPv4Network(network)):
        if candidate not in taken:
            return candidate
    raise ValueError(f"no free virtual address left in {network}")


def virtual_address6(address: str, network: str) -> str:
    """The IPv6 form of a virtual address: its 32 bits at the end of a /96 `network`."""
    return str(ipaddress.IPv6Network(network).network_address + int(ipaddress.IPv4Address(address)))


def virtual_forms(address: str, network6: str) -> tuple[str, ...]:
    """A virtual address in all forms in which it may be dialled; `network6` empty: nobody dials IPv6."""
    return (address, virtual_address6(address, network6)) if network6 and address else (address,)


def virtual_network6(virtual_network: str, network: str) -> str:
    """Where the IPv6 forms of a virtual network's addresses are: `240.240.0.0/16` in a /96 is a /112."""
    own = ipaddress.IPv4Network(virtual_network)
    return f"{virtual_address6(str(own.network_address), network)}/{96 + own.prefixlen}"


def _candidates(name: str, network: ipaddress.IPv4Network) -> Iterator[str]:
    usable = network.num_addresses - 2
    start = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    for step in range(usable):
        yield str(network.network_address + 1 + (start + step) % usable)
