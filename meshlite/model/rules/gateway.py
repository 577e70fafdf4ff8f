"""Istio's verdict on a Gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.networking.gateway import Gateway, Port, Server, ServerTLSSettings
from meshlite.model.rules import forms
from meshlite.model.rules.labels import labels
from meshlite.model.scalars import shown

_SPEC: Path = ("spec",)

HTTP = frozenset({"HTTP", "HTTP2", "HTTP_PROXY", "GRPC", "GRPC-WEB"})
TLS = frozenset({"HTTPS", "TLS"})
TCP = frozenset({"TCP", "MONGO", "REDIS", "MYSQL"})
_PROTOCOLS = (*sorted(HTTP), *sorted(TLS), *sorted(TCP), "UDP", "HBONE")

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-PSK-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-PSK-AES128-CBC-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-PSK-AES256-CBC-SHA",
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "PSK-AES128-CBC-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA",
    "PSK-AES256-CBC-SHA",
    "DES-CBC3-SHA",
)
"""Cipher suites that may be chosen; others are passed over, as in Istio."""

CURVES = ("X25519", "P-256", "P-384", "P-521", "X25519MLKEM768")
"""Curves that Envoy knows."""

TOPOLOGY = "proxy.istio.io/config"
"""Annotation of a Gateway with Istio's ProxyConfig as YAML, of which `gatewayTopology` is read."""

_SPKI = re.compile(r"[A-Za-z0-9+/]{43}=")
_HASH = re.compile(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){31}")

CERTIFICATE_MODES = ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
UNIX = "unix://"


def gateway(spec: Gateway, resource: Resource) -> Iterator[Fault]:
    if reason := forms.label(resource.name):
        yield Fault(("metadata", "name"), reason)
    if not spec.servers:
        yield Fault((*_SPEC, "servers"), "needs at least one server")
    names: set[str] = set()
    for place, server in enumerate(spec.servers):
        at = (*_SPEC, "servers", place)
        yield from _server(server, at)
        if server.port.name in names:
            yield Fault((*at, "port", "name"), f"the port name {server.port.name} is given twice")
        names.add(server.port.name)
    yield from labels(spec.selector, (*_SPEC, "selector"))
    if text := resource.annotations.get(TOPOLOGY):
        yield from _topology(text, ("metadata", "annotations", TOPOLOGY))


def _topology(text: str, at: Path) -> Iterator[Fault]:
    """What stands in front of the gateway; all else of a proxy's configuration is not a Gateway's."""
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError:
        read = None
    found = read.get("gatewayTopology", {}) if isinstance(read, dict) else None
    if not isinstance(found, dict):
        yield Fault(at, "must be YAML such as {gatewayTopology: {numTrustedProxies: 1}}")
        return
    known = ("numTrustedProxies", "proxyProtocol")
    others = [*(key for key in read if key != "gatewayTopology"), *(key for key in found if key not in known)]
    for key in others:
        yield Fault(at, f"{key} has no effect on a Gateway", warning=True)
    count = found.get("numTrustedProxies", 0)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        yield Fault(at, "numTrustedProxies must be a number of proxies")


def _server(server: Server, at: Path) -> Iterator[Fault]:
    if not server.hosts:
        yield Fault((*at, "hosts"), "needs at least one host; * means any")
    for place, host in enumerate(server.hosts):
        if reason := gateway_host(host):
            yield Fault((*at, "hosts", place), reason)
    bad_port = list(_port(server.port, server.bind, (*at, "port")))
    yield from bad_port
    yield from _bind(server, (*at, "bind"))
    if server.tls is not None:
        yield from server_tls(server.tls, (*at, "tls"))
    if not bad_port:
        yield from _suited(server, (*at, "tls"))


def gateway_host(text: str) -> str:
    """What is wrong with `host`, `namespace/host`, `./host` or `*/host`; the host may be an address."""
    space, slash, host = text.rpartition("/")
    if "/" in space or (slash and not (space and host)):
        return f"{shown(text)} is not a host: write name or namespace/name"
    if space and space not in (".", "*") and (reason := forms.host_label(space)):
        return reason
    return "" if host == "*" or forms.is_address(host) else forms.wildcard_domain(host)


def _port(port: Port, bind: str, at: Path) -> Iterator[Fault]:
    if port.protocol.upper() not in _PROTOCOLS:
        reason = f"{shown(port.protocol)} is not a protocol: HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TLS or TCP"
        yield Fault((*at, "protocol"), reason)
    if (port.number or not bind.startswith(UNIX)) and not 1 <= port.number <= 65535:
        yield Fault((*at, "number"), f"{port.number} is not a port: from 1 to 65535")
    if port.target_port:
        yield Fault((*at, "targetPort"), "has no effect on gateways: leave it out")
    if not port.name:
        yield Fault((*at, "name"), "must not be empty")


def _bind(server: Server, at: Path) -> Iterator[Fault]:
    bind = server.bind
    if bind.startswith(UNIX):
        if server.port.number:
            yield Fault(at, "a unix socket has no port number: write 0")
        if not bind.removeprefix(UNIX).startswith(("/", "@")):
            yield Fault(at, f"{shown(bind)} needs the socket's whole path")
    elif bind and not forms.is_address(bind):
        yield Fault(at, f"{shown(bind)} is not an address")


def _suited(server: Server, at: Path) -> Iterator[Fault]:
    """Whether TLS settings go with the protocol."""
    protocol, tls = server.port.protocol.upper(), server.tls
    if protocol in TLS and tls is None:
        yield Fault(at, f"is required for protocol {protocol}")
    if protocol in TLS or tls is None:
        return
    if protocol not in HTTP:
        yield Fault(at, f"does not go with protocol {protocol}: write TLS or HTTPS")
        if tls.https_redirect:
            yield Fault((*at, "httpsRedirect"), "is for HTTP servers", warning=True)
        return
    files = tls.ca_certificates or tls.private_key or tls.server_certificate
    if files or tls.mode not in ("PASSTHROUGH", "AUTO_PASSTHROUGH"):
        yield Fault(at, f"protocol {protocol} is plain text: write HTTPS, or only httpsRedirect here")


def server_tls(tls: ServerTLSSettings, at: Path) -> Iterator[Fault]:
    yield from _parameters(tls, at)
    if tls.mode == "ISTIO_MUTUAL":
        for name in _own_certificates(tls):
            yield Fault((*at, name), "does not go with ISTIO_MUTUAL, whose certificates are the mesh's")
        return
    if tls.mode not in CERTIFICATE_MODES:
        for name in _own_certificates(tls):
            yield Fault((*at, name), f"has no effect with mode {tls.mode}", warning=True)
        return
    yield from _certificates(tls, at)


def _parameters(tls: ServerTLSSettings, at: Path) -> Iterator[Fault]:
    if tls.min_protocol_version in ("TLSV1_0", "TLSV1_1") and not tls.cipher_suites:
        reason = "old versions need cipherSuites: the default ones are not for them"
        yield Fault((*at, "minProtocolVersion"), reason, warning=True)
    for place, curve in enumerate(tls.ecdh_curves):
        if curve not in CURVES:
            reason = f"{shown(curve)} is not a curve and is passed over: {', '.join(CURVES)}"
            yield Fault((*at, "ecdhCurves", place), reason, warning=True)
    for place, text in enumerate(tls.verify_certificate_spki):
        if not _SPKI.fullmatch(text):
            reason = f"{shown(text)} is not a SHA-256 hash in base64"
            yield Fault((*at, "verifyCertificateSpki", place), reason)
    for place, text in enumerate(tls.verify_certificate_hash):
        if not _HASH.fullmatch(text):
            yield Fault((*at, "verifyCertificateHash", place), f"{shown(text)} is not a SHA-256 hash in hex")
    for place, suite in enumerate(tls.cipher_suites):
        here = (*at, "cipherSuites", place)
        if suite not in CIPHERS:
            yield Fault(here, f"{shown(suite)} is not a cipher suite and is passed over", warning=True)
        elif suite in tls.cipher_suites[:place]:
            yield Fault(here, f"{shown(suite)} is given twice", warning=True)


def _certificates(tls: ServerTLSSettings, at: Path) -> Iterator[Fault]:
    """A certificate and its key, and for MUTUAL those who sign clients, by file or by name."""
    named = tls.credential_name or tls.credential_names
    if tls.ca_crl and named:
        yield Fault((*at, "caCrl"), "does not go with a credential's name: the credential holds ca.crl")
    elif tls.ca_crl and tls.mode == "SIMPLE":
        yield Fault((*at, "caCrl"), "is for MUTUAL: SIMPLE checks no client's certificate")
    if named:
        return
    for place, pair in enumerate(tls.tls_certificates):
        for name, value in (
            ("serverCertificate", pair.server_certificate),
            ("privateKey", pair.private_key),
        ):
            if not value:
                yield Fault((*at, "tlsCertificates", place, name), "is required")
    if not tls.tls_certificates:
        for name, value in (("serverCertificate", tls.server_certificate), ("privateKey", tls.private_key)):
            if not value:
                yield Fault((*at, name), f"is required for mode {tls.mode}, or credentialName")
    if tls.mode != "SIMPLE" and not (tls.ca_certificates or tls.ca_cert_credential_name):
        yield Fault((*at, "caCertificates"), f"is required for mode {tls.mode}, or caCertCredentialName")


def _own_certificates(tls: ServerTLSSettings) -> Iterator[str]:
    given = {
        "serverCertificate": tls.server_certificate,
        "privateKey": tls.private_key,
        "caCertificates": tls.ca_certificates,
        "caCrl": tls.ca_crl,
        "credentialName": tls.credential_name,
        "credentialNames": tls.credential_names,
        "tlsCertificates": tls.tls_certificates,
    }
    return (name for name, value in given.items() if value)
