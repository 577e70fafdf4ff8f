"""Decides how a gateway's server ends TLS: with which certificates, versions and ciphers, and for whom.

Source: https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings
"""

from __future__ import annotations

from meshlite.model.names import ROOT_NAMESPACE
from meshlite.model.networking import ServerTLSSettings
from meshlite.model.rules.gateway import CIPHERS, CURVES
from meshlite.translate.plan import secret
from meshlite.translate.plan.gateway import Gate, Serving
from meshlite.translate.plan.gateway_listener import Clients, ServerTls

_VERSIONS = {"TLSV1_0": "TLSv1_0", "TLSV1_1": "TLSv1_1", "TLSV1_2": "TLSv1_2", "TLSV1_3": "TLSv1_3"}
_CLIENTS: dict[str, Clients] = {"MUTUAL": "required", "OPTIONAL_MUTUAL": "optional"}


def server_tls(serving: Serving, gate: Gate) -> ServerTls | None:
    """None for a server that does not end TLS."""
    tls = serving.server.tls
    if tls is None or not serving.encrypted or serving.passed:
        return None
    space = "" if gate.workload.namespace == ROOT_NAMESPACE else gate.workload.namespace
    clients = _CLIENTS.get(tls.mode, "none")
    return ServerTls(
        _certificates(tls, space),
        _roots(tls, space) if clients != "none" else "",
        clients,
        tls.subject_alt_names,
        tls.verify_certificate_spki,
        tls.verify_certificate_hash,
        bool(tls.insecure_skip_verify),
        _VERSIONS.get(tls.min_protocol_version, "TLSv1_2"),
        _VERSIONS.get(tls.max_protocol_version, ""),
        tuple(dict.fromkeys(suite for suite in tls.cipher_suites if suite in CIPHERS)),
        tuple(dict.fromkeys(curve for curve in tls.ecdh_curves if curve in CURVES)),
    )


def _certificates(tls: ServerTLSSettings, space: str) -> tuple[str, ...]:
    names = tls.credential_names or ((tls.credential_name,) if tls.credential_name else ())
    if names:
        return tuple(secret.credential(name, space) for name in names)
    if tls.tls_certificates:
        return tuple(
            secret.certificate(pair.server_certificate, pair.private_key) for pair in tls.tls_certificates
        )
    return (secret.certificate(tls.server_certificate, tls.private_key),)


def _roots(tls: ServerTLSSettings, space: str) -> str:
    """Whoever is named for clients' certificates alone comes first."""
    if tls.ca_cert_credential_name:
        return secret.credential_roots(tls.ca_cert_credential_name, space)
    names = tls.credential_names or ((tls.credential_name,) if tls.credential_name else ())
    if names:
        return secret.credential_roots(names[0], space)
    return secret.roots(tls.ca_certificates, tls.ca_crl)
