"""Names of services: which ones a service answers to, and the stable virtual address it gets."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection, Iterator

ROOT_NAMESPACE = "meshlite-system"
ROOT_ALIASES = frozenset({"istio-system"})
CLUSTER_SUFFIX = "svc.cluster.local"


def canonical_namespace(namespace: str) -> str:
    """The namespace itself; Istio's root namespace is taken for ours, so its samples apply unmodified."""
    return ROOT_NAMESPACE if namespace in ROOT_ALIASES else namespace


def fqdn(service: str, namespace: str) -> str:
    """`reviews`, `shop` -> `reviews.shop.svc.cluster.local`: the one name used inside the mesh."""
    return f"{service}.{namespace}.{CLUSTER_SUFFIX}"


def qualified_names(service: str, namespace: str) -> tuple[str, ...]:
    """Names that any workload of the mesh may call, shortest first."""
    dotted = f"{service}.{namespace}"
    return (dotted, f"{dotted}.svc", f"{dotted}.{CLUSTER_SUFFIX}", f"{dotted}.mesh")


def resolve(host: str, namespace: str) -> str:
    """A host as written in a resource of `namespace` -> its FQDN. Wildcards, addresses, external names stay.

    `reviews` -> `reviews.<namespace>.svc.cluster.local`; `reviews.shop`, `.svc`, `.mesh` forms likewise. A
    name of two labels is taken for service.namespace only by `resolve_known`, since it may be external.
    """
    host = host.rstrip(".").lower()
    if host.endswith("." + CLUSTER_SUFFIX) or "*" in host:
        return host
    if "." not in host:
        return fqdn(host, canonical_namespace(namespace)) if host else host
    for suffix in (".svc", ".mesh"):
        stem = host.removesuffix(suffix)
        if stem != host and stem.count(".") == 1:
            return f"{stem}.{CLUSTER_SUFFIX}"
    return host


def resolve_known(host: str, namespace: str, known: Collection[str]) -> str:
    """Like `resolve`, and `service.namespace` too where that service is in `known` (FQDNs)."""
    resolved = resolve(host, namespace)
    if resolved.count(".") == 1 and f"{resolved}.{CLUSTER_SUFFIX}" in known:
        return f"{resolved}.{CLUSTER_SUFFIX}"
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


def _candidates(name: str, network: ipaddress.IPv4Network) -> Iterator[str]:
    usable = network.num_addresses - 2
    start = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    for step in range(usable):
        yield str(network.network_address + 1 + (start + step) % usable)
