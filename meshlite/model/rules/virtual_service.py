"""Istio's verdict on a VirtualService: its hosts, and rules that can never match."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.networking.match import L4MatchAttributes, TLSMatchAttributes
from meshlite.model.networking.virtual_service import TCPRoute, TLSRoute, VirtualService
from meshlite.model.rules import forms
from meshlite.model.rules.destination import weighted
from meshlite.model.rules.http_route import http_route
from meshlite.model.rules.labels import labels
from meshlite.model.rules.unreachable import unreachable

_SPEC: Path = ("spec",)


def virtual_service(spec: VirtualService, resource: Resource) -> Iterator[Fault]:
    for_mesh = not spec.gateways or "mesh" in spec.gateways
    yield from _hosts(spec, for_mesh)
    for place, name in enumerate(spec.gateways):
        if reason := forms.gateway(name):
            yield Fault((*_SPEC, "gateways", place), reason)
    if not (spec.http or spec.tls or spec.tcp):
        yield Fault(_SPEC, "needs at least one of http, tls and tcp")
    for place, route in enumerate(spec.http):
        yield from http_route(route, for_mesh, (*_SPEC, "http", place))
    for place, tls in enumerate(spec.tls):
        yield from _tls_route(tls, spec, (*_SPEC, "tls", place))
    for place, tcp in enumerate(spec.tcp):
        yield from _tcp_route(tcp, (*_SPEC, "tcp", place))
    if reason := forms.export_to(spec.export_to, resource.namespace):
        yield Fault((*_SPEC, "exportTo"), reason)
    for name, rules in (("http", spec.http), ("tls", spec.tls), ("tcp", spec.tcp)):
        yield from unreachable(rules, (*_SPEC, name))


def _hosts(spec: VirtualService, for_mesh: bool) -> Iterator[Fault]:
    if not spec.hosts:
        yield from _delegate(spec)
    for place, host in enumerate(spec.hosts):
        at = (*_SPEC, "hosts", place)
        if for_mesh and host == "*":
            yield Fault(at, "* is for gateways only: name the hosts")
        elif (reason := forms.wildcard_domain(host)) and not forms.is_address(host):
            yield Fault(at, reason)
        else:
            before = next((other for other in spec.hosts[:place] if overlap(other, host)), None)
            if before is not None:
                yield Fault(at, f"{host} is covered twice, by {before}, too")


def _delegate(spec: VirtualService) -> Iterator[Fault]:
    """Without hosts it can only be the delegate of another VirtualService, for HTTP."""
    for name in ("gateways", "tls", "tcp"):
        if getattr(spec, name):
            yield Fault((*_SPEC, name), "needs hosts: without them this is a delegate, for http only")
    for place, route in enumerate(spec.http):
        if route.delegate:
            yield Fault((*_SPEC, "http", place, "delegate"), "a delegate cannot delegate again")


def overlap(one: str, other: str) -> bool:
    """Whether some name is meant by both hosts: `*.com` and `a.com`, `*.com` and `*.a.com`."""
    if one.startswith("*") and other.startswith("*"):
        return one[1:].endswith(other[1:]) or other[1:].endswith(one[1:])
    return covers(one, other) or covers(other, one)


def covers(wide: str, narrow: str) -> bool:
    """Whether every name that `narrow` means is meant by `wide`."""
    if not wide.startswith("*"):
        return wide == narrow
    longer = len(narrow) >= len(wide) if narrow.startswith("*") else True
    return longer and narrow.lstrip("*").endswith(wide[1:])


def _tls_route(route: TLSRoute, spec: VirtualService, at: Path) -> Iterator[Fault]:
    if not route.match:
        yield Fault((*at, "match"), "needs at least one match with sniHosts")
    for place, match in enumerate(route.match):
        here = (*at, "match", place)
        if not match.sni_hosts:
            yield Fault((*here, "sniHosts"), "needs at least one host")
        for number, sni in enumerate(match.sni_hosts):
            spot = (*here, "sniHosts", number)
            if forms.is_address(sni):
                yield Fault(spot, "most clients send no address as server name", warning=True)
            elif reason := forms.wildcard_domain(sni):
                yield Fault(spot, reason)
            elif not any(covers(host, sni) for host in spec.hosts):
                yield Fault(spot, f"{sni} is not among the hosts of this VirtualService")
        yield from _l4_match(match, here)
    yield from _required(route, at)


def _tcp_route(route: TCPRoute, at: Path) -> Iterator[Fault]:
    for place, match in enumerate(route.match):
        yield from _l4_match(match, (*at, "match", place))
    yield from _required(route, at)


def _required(route: TLSRoute | TCPRoute, at: Path) -> Iterator[Fault]:
    if not route.route:
        yield Fault(at, "needs a route")
    yield from weighted(route.route, (*at, "route"))


def _l4_match(match: TLSMatchAttributes | L4MatchAttributes, at: Path) -> Iterator[Fault]:
    for place, text in enumerate(match.destination_subnets):
        if reason := forms.subnet(text):
            yield Fault((*at, "destinationSubnets", place), reason)
    yield from labels(match.source_labels, (*at, "sourceLabels"))
    if match.source_namespace and (reason := forms.host_label(match.source_namespace)):
        yield Fault((*at, "sourceNamespace"), reason)
    for place, name in enumerate(match.gateways):
        if reason := forms.gateway(name):
            yield Fault((*at, "gateways", place), reason)
