"""Decides where connections that are not HTTP go: the TLS and TCP routes of VirtualServices, for one caller.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#TLSRoute and #TCPRoute
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from meshlite.model.networking import L4MatchAttributes, RouteDestination, TLSMatchAttributes, VirtualService
from meshlite.translate.plan.caller import Caller
from meshlite.translate.plan.cluster import Policy
from meshlite.translate.plan.listener import TcpChain
from meshlite.translate.plan.resources import Applied
from meshlite.translate.plan.routing import MESH, Context, destination_cluster, place

_FAILURE = "connections to it are closed"
_ANY = L4MatchAttributes()
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Owners = Sequence[Applied[VirtualService]]


def tls_routes(owners: _Owners, address: str, context: Context) -> Iterator[tuple[str, TcpChain]]:
    """Server names in order, each with the chain for it; `*`, or `*.` and the end of a name, take several."""
    for owner in owners:
        for number, rule in enumerate(owner.spec.tls):
            for match in rule.match:
                if _applies(owner, match, address, context):
                    chain = _chain(owner, f"tls[{number}]", rule.route, context)
                    yield from ((name.lower(), chain) for name in match.sni_hosts)


def tcp_route(owners: _Owners, address: str, context: Context) -> TcpChain | None:
    """The chain of the first rule that takes connections to `address`; None: none does."""
    for owner in owners:
        for number, rule in enumerate(owner.spec.tcp):
            if any(_applies(owner, match, address, context) for match in rule.match or (_ANY,)):
                return _chain(owner, f"tcp[{number}]", rule.route, context)
    return None


def chain(name: str, shares: Sequence[tuple[str, int]], policy: Policy) -> TcpChain:
    """Passes connections on to clusters by their shares, in the manner of the first one's policy."""
    lone = shares[0][0] if len(shares) == 1 else ""
    key = policy.balancer.hash_key
    return TcpChain(
        name,
        lone,
        policy.pool.tcp_idle,
        hash_address=key is not None and key.kind == "address",
        shares=() if lone else tuple(shares),
        lifetime=policy.pool.lifetime,
        tunnel=policy.tunnel,
    )


def _chain(
    owner: Applied[VirtualService], where: str, route: Sequence[RouteDestination], context: Context
) -> TcpChain:
    parts = [part for part in route if part.weight or len(route) == 1]
    first = parts[0].destination
    host, port = place(owner, first, context)
    policy = context.destinations.policy(host, first.subset if len(parts) == 1 else "", port)
    shares = [
        (destination_cluster(owner, part.destination, context, _FAILURE), part.weight or 1) for part in parts
    ]
    return chain(f"{where}/{context.port}/{owner.namespace}/{owner.resource.name}", shares, policy)


def _applies(
    owner: Applied[VirtualService],
    match: L4MatchAttributes | TLSMatchAttributes,
    address: str,
    context: Context,
) -> bool:
    """Whether a match is for this caller and address; unlike in HTTP rules, `gateways` joins the rest."""
    gateways = match.gateways or owner.spec.gateways
    return (
        (not gateways or MESH in gateways)
        and match.port in (0, context.port)
        and _of(match, context.caller)
        and (not match.destination_subnets or _within(address, match.destination_subnets))
    )


def _of(match: L4MatchAttributes | TLSMatchAttributes, caller: Caller) -> bool:
    return match.source_namespace in ("", caller.namespace) and caller.has(match.source_labels)


def subnets(owners: _Owners, within: str) -> Iterator[str]:
    """Subnets that some match asks for, of those that are part of another one."""
    for owner in owners:
        named = [match.destination_subnets for rule in owner.spec.tls for match in rule.match]
        named += [match.destination_subnets for rule in owner.spec.tcp for match in rule.match]
        inside = (one for subnets in named for one in subnets if _within(one, (within,)))
        yield from (str(ipaddress.ip_network(one, strict=False)) for one in inside)


def _within(address: str, subnets: Sequence[str]) -> bool:
    """`address` may be a subnet, too; empty: not known."""
    if not address:
        return False
    there = ipaddress.ip_network(address, strict=False)
    return any(_part(there, ipaddress.ip_network(subnet, strict=False)) for subnet in subnets)


def _part(inner: _Network, outer: _Network) -> bool:
    same = inner.version == outer.version and inner.prefixlen >= outer.prefixlen
    return same and inner.network_address in outer
