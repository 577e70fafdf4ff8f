"""Istio's verdict on a ServiceEntry."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from meshlite.model.external import allocates, port_protocol
from meshlite.model.faults import Fault, suggest
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.networking.service_entry import ServiceEntry
from meshlite.model.rules import forms
from meshlite.model.rules.labels import selected
from meshlite.model.rules.workload_entry import endpoint
from meshlite.model.scalars import shown

_SPEC: Path = ("spec",)
_BY_NAME = ("DNS", "DNS_ROUND_ROBIN")
_NAMED = frozenset({"http", "http2", "grpc", "grpc-web", "tls", "https"})
"""Protocols that say in each connection or request which host is meant."""


def service_entry(spec: ServiceEntry, resource: Resource) -> Iterator[Fault]:
    yield from _hosts(spec)
    for place, address in enumerate(spec.addresses):
        at = (*_SPEC, "addresses", place)
        if reason := forms.subnet(address):
            yield Fault(at, reason)
        elif "/" in address and spec.resolution not in ("NONE", "STATIC"):
            yield Fault(at, f"a range is for resolution NONE or STATIC only, not {spec.resolution}")
        elif reason := _unheard(address):
            yield Fault(at, reason, warning=True)
    yield from _ports(spec, resource)
    yield from _endpoints(spec)
    yield from _selector(spec)
    if reason := forms.export_to(spec.export_to, resource.namespace, hideable=True):
        yield Fault((*_SPEC, "exportTo"), reason)


def _unheard(address: str) -> str:
    """Addresses that Istio takes, too, and that do not mean what their author may think."""
    network = ipaddress.ip_network(address, strict=False)
    if network.prefixlen == 0:
        return "takes every connection for its ports that no other service has: name a smaller range"
    if network.is_loopback or network.network_address.is_unspecified:
        return "is the caller's own: nothing is captured there, so the entry is not asked"
    if network.is_link_local:
        return "link-local addresses are not captured, so the entry is not asked"
    return "is for many receivers: TCP does not go there" if network.is_multicast else ""


def _hosts(spec: ServiceEntry) -> Iterator[Fault]:
    if not spec.hosts:
        yield Fault((*_SPEC, "hosts"), "needs at least one host")
    for place, host in enumerate(spec.hosts):
        at = (*_SPEC, "hosts", place)
        if host == "*":
            yield Fault(at, "* alone is no host: name the domain, e.g. '*.example.com'")
        elif reason := forms.wildcard_domain(host):
            yield Fault(at, reason)
        elif host.startswith("*") and not host.startswith("*."):
            yield Fault(at, f"{host} is matched by HTTP only: TLS knows whole parts, as in *.x", warning=True)
        elif "*" in host and spec.resolution in _BY_NAME and not spec.endpoints:
            yield Fault(at, f"a wildcard cannot be resolved: name endpoints, or choose another {_RESOLUTION}")
        elif "*" not in host and spec.resolution == "DYNAMIC_DNS":
            yield Fault(at, "DYNAMIC_DNS is for wildcards: choose DNS for a host with one name")


_RESOLUTION = "resolution (NONE: where the caller dials)"


def _ports(spec: ServiceEntry, resource: Resource) -> Iterator[Fault]:
    allocated = allocates(spec, resource.labels)
    for place, port in enumerate(spec.ports):
        at = (*_SPEC, "ports", place)
        before = spec.ports[:place]
        if reason := forms.label(port.name):
            yield Fault((*at, "name"), reason)
        if any(other.name == port.name for other in before):
            yield Fault((*at, "name"), f"port {port.name} is given twice")
        if any(other.number == port.number for other in before):
            yield Fault((*at, "number"), f"port {port.number} is given twice")
        protocol = port_protocol(port.protocol)
        if protocol is None:
            yield Fault((*at, "protocol"), _unknown(port.protocol))
            continue
        named = protocol in _NAMED
        if not named and len(spec.hosts) > 1 and spec.resolution != "NONE":
            yield Fault((*at, "protocol"), f"{port.protocol or 'no protocol'}: {_AMBIGUOUS}")
        if not named and spec.resolution == "DYNAMIC_DNS":
            reason = (
                f"{port.protocol or 'no protocol'} names no host to resolve: DYNAMIC_DNS is for HTTP and TLS"
            )
            yield Fault((*at, "protocol"), reason)
        if protocol in ("auto", "tcp") and not spec.addresses and not allocated:
            reason = "without addresses TCP to this port is not told from other TCP"
            yield Fault((*at, "protocol"), reason, warning=True)


_AMBIGUOUS = "such connections do not say which of several hosts they mean: write an entry for each host"


def _unknown(protocol: str) -> str:
    known = ("HTTP", "HTTP2", "GRPC", "GRPC-Web", "TLS", "HTTPS", "TCP", "MONGO", "MYSQL", "REDIS", "UDP")
    return f"unknown protocol {shown(protocol)}{suggest(protocol, known)}; known: {', '.join(known)}"


def _endpoints(spec: ServiceEntry) -> Iterator[Fault]:
    at = (*_SPEC, "endpoints")
    if "endpoints" in spec.model_fields_set and spec.resolution in ("NONE", "DYNAMIC_DNS"):
        yield Fault(at, f"resolution {spec.resolution} has none: choose STATIC for addresses, DNS for names")
        return
    if spec.resolution == "DNS_ROUND_ROBIN" and len(spec.endpoints) > 1:
        yield Fault(at, "DNS_ROUND_ROBIN resolves one name only: choose DNS for several")
    names = [port.name for port in spec.ports]
    by_name = spec.resolution in _BY_NAME
    for place, entry in enumerate(spec.endpoints):
        here = (*at, place)
        if by_name and entry.address.startswith("unix://"):
            yield Fault((*here, "address"), "a unix socket needs resolution: STATIC")
        else:
            yield from endpoint(entry, here, names, names=by_name)


def _selector(spec: ServiceEntry) -> Iterator[Fault]:
    at = (*_SPEC, "workloadSelector")
    if spec.workload_selector is None:
        return
    if "endpoints" in spec.model_fields_set:
        yield Fault(at, "excludes endpoints: keep one of them")
    yield from selected(spec.workload_selector, at)
    if spec.resolution != "STATIC":
        reason = f"is meant for resolution: STATIC, not {spec.resolution}"
        yield Fault(at, reason, warning=True)
