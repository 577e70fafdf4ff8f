"""Istio's verdict on a Sidecar."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.networking.sidecar import (
    IstioEgressListener,
    IstioIngressListener,
    OutboundTrafficPolicy,
    Sidecar,
    SidecarPort,
)
from meshlite.model.rules import forms
from meshlite.model.rules.destination import destination
from meshlite.model.rules.destination_rule import connection_pool
from meshlite.model.rules.gateway import server_tls
from meshlite.model.rules.labels import selected
from meshlite.model.rules.workload_entry import UNIX, unix_path

_LOCAL = ("", "127.0.0.1", "0.0.0.0", "::1", "::")
_SPEC: Path = ("spec",)


def sidecar(spec: Sidecar, resource: Resource) -> Iterator[Fault]:
    yield from selected(spec.workload_selector, (*_SPEC, "workloadSelector"))
    parts = (spec.outbound_traffic_policy, spec.inbound_connection_pool)
    if not (spec.egress or spec.ingress or any(part is not None for part in parts)):
        yield Fault(_SPEC, "is empty: set ingress, egress, outboundTrafficPolicy or inboundConnectionPool")
    for place, ingress in enumerate(spec.ingress):
        at = (*_SPEC, "ingress", place)
        yield from _ingress(ingress, at)
        if any(other.port.number == ingress.port.number for other in spec.ingress[:place]):
            yield Fault((*at, "port", "number"), f"port {ingress.port.number} is given twice")
    if spec.inbound_connection_pool:
        yield from connection_pool(spec.inbound_connection_pool, (*_SPEC, "inboundConnectionPool"))
    for place, egress in enumerate(spec.egress):
        yield from _egress(egress, (*_SPEC, "egress", place), resource.namespace)
        yield from _unique(spec.egress, place)
    if spec.outbound_traffic_policy:
        yield from _policy(spec.outbound_traffic_policy, (*_SPEC, "outboundTrafficPolicy"))


def _ingress(listener: IstioIngressListener, at: Path) -> Iterator[Fault]:
    yield from _port(listener.port, (*at, "port"))
    if not listener.port.number:
        yield Fault((*at, "port", "number"), "0 is not a port: from 1 to 65535")
    yield from _bind(listener.bind, at)
    if reason := _endpoint(listener.default_endpoint):
        yield Fault((*at, "defaultEndpoint"), reason)
    if listener.tls:
        tls = listener.tls
        lacking = {
            "subjectAltNames": tls.subject_alt_names,
            "httpsRedirect": tls.https_redirect,
            "credentialName": tls.credential_name,
            "credentialNames": tls.credential_names,
            "tlsCertificates": tls.tls_certificates,
        }
        for name in (name for name, value in lacking.items() if value):
            yield Fault((*at, "tls", name), "is not for ingress listeners")
        if tls.mode in ("ISTIO_MUTUAL", "AUTO_PASSTHROUGH"):
            yield Fault((*at, "tls", "mode"), f"{tls.mode} is not for ingress listeners")
        if listener.port.protocol.upper() not in ("HTTPS", "TLS"):
            yield Fault((*at, "tls"), "needs a port of protocol HTTPS or TLS")
        yield from server_tls(tls, (*at, "tls"))
    if listener.connection_pool:
        yield from connection_pool(listener.connection_pool, (*at, "connectionPool"))


def _egress(listener: IstioEgressListener, at: Path, namespace: str) -> Iterator[Fault]:
    if not listener.hosts:
        yield Fault((*at, "hosts"), "must name at least one host")
    for place, host in enumerate(listener.hosts):
        if reason := _host(host):
            yield Fault((*at, "hosts", place), reason)
        if host in listener.hosts[:place]:
            yield Fault((*at, "hosts", place), f"{host} is given twice", warning=True)
    port = listener.port
    if port is None:
        return
    yield from _port(port, (*at, "port"))
    if port.number:
        yield from _bind(listener.bind, at)
        return
    if not listener.bind.startswith(UNIX):
        yield Fault((*at, "bind"), "must be a Unix socket (unix:///path) where the port is 0")
    elif reason := unix_path(listener.bind):
        yield Fault((*at, "bind"), reason)
    if listener.capture_mode == "IPTABLES":
        yield Fault((*at, "captureMode"), "must be DEFAULT or NONE for a Unix socket")


def _unique(egress: tuple[IstioEgressListener, ...], place: int) -> Iterator[Fault]:
    at, listener, before = (*_SPEC, "egress", place), egress[place], egress[:place]
    if listener.port is None:
        if place != len(egress) - 1:
            yield Fault(at, "a listener without port is for all other ports: put it last, and only once")
    elif not listener.port.number:
        if any(other.port and not other.port.number and other.bind == listener.bind for other in before):
            yield Fault((*at, "bind"), f"{listener.bind} is given twice")
    elif any(other.port and other.port.number == listener.port.number for other in before):
        yield Fault((*at, "port", "number"), f"port {listener.port.number} is given twice")


def _policy(policy: OutboundTrafficPolicy, at: Path) -> Iterator[Fault]:
    proxy = policy.egress_proxy
    if proxy is None:
        return
    if policy.mode != "ALLOW_ANY":
        yield Fault((*at, "egressProxy"), "needs mode ALLOW_ANY")
        return
    if reason := forms.domain(proxy.host):
        yield Fault((*at, "egressProxy", "host"), reason)
    elif proxy.port is None:
        yield Fault((*at, "egressProxy", "port"), "is required")
    else:
        yield from destination(proxy, (*at, "egressProxy"))


def _port(port: SidecarPort, at: Path) -> Iterator[Fault]:
    if port.name and (reason := forms.label(port.name)):
        yield Fault((*at, "name"), reason)
    if reason := forms.protocol(port.protocol):
        yield Fault((*at, "protocol"), reason)
    if port.target_port:
        yield Fault((*at, "targetPort"), "has no effect in a Sidecar: remove it")


def _bind(bind: str, at: Path) -> Iterator[Fault]:
    if bind and not forms.is_address(bind):
        yield Fault((*at, "bind"), f"{bind} is not an address")


def _endpoint(endpoint: str) -> str:
    if not endpoint:
        return ""
    if endpoint.startswith(UNIX):
        return unix_path(endpoint)
    host, colon, port = endpoint.rpartition(":")
    known = host.removeprefix("[").removesuffix("]") in _LOCAL
    if not (colon and known and port.isdigit() and 0 < int(port) < 65536):
        return "must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH"
    return ""


def _host(text: str) -> str:
    space, slash, name = text.partition("/")
    if not (slash and space and name):
        return f"{text} must be of the form namespace/name, e.g. ./* or shop/reviews.shop.svc.cluster.local"
    place = space.removeprefix("~")
    if place not in ("", "*", ".") and (reason := forms.host_label(place)):
        return reason
    return forms.wildcard_domain(name)
