"""Decides how the proxy speaks TLS of its own to a destination, and by which secrets.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings
"""

from __future__ import annotations

from meshlite.model.names import ROOT_NAMESPACE
from meshlite.model.networking import ClientTLSSettings
from meshlite.translate.plan import secret
from meshlite.translate.plan.cluster import Tls


def client_tls(settings: ClientTLSSettings | None, namespace: str) -> Tls | None:
    """None: nothing is added to what the endpoints get; hops within the mesh are safe by themselves.

    `namespace`: the rule's, whose credentials are meant.
    """
    if settings is None or settings.mode in ("DISABLE", "ISTIO_MUTUAL"):
        return None
    space = "" if namespace == ROOT_NAMESPACE else namespace
    unchecked = bool(settings.insecure_skip_verify)
    return Tls(
        certificate=_certificate(settings, space) if settings.mode == "MUTUAL" else "",
        roots="" if unchecked else _roots(settings, space),
        names=() if unchecked else settings.subject_alt_names,
        sni=settings.sni,
    )


def _certificate(settings: ClientTLSSettings, space: str) -> str:
    if settings.credential_name:
        return secret.credential(settings.credential_name, space)
    return secret.certificate(settings.client_certificate, settings.private_key)


def _roots(settings: ClientTLSSettings, space: str) -> str:
    if settings.credential_name:
        return secret.credential_roots(settings.credential_name, space)
    return secret.roots(settings.ca_certificates or secret.SYSTEM, settings.ca_crl)
