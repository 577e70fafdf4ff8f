"""Decides how the proxy speaks TLS of its own to a destination, and by which secrets.

The secrets have Istio's names; the agent serves what is behind them.
Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings
"""

from __future__ import annotations

from meshlite.model.networking import ClientTLSSettings
from meshlite.translate.plan.cluster import Tls

SYSTEM = "system"
"""Stands for the file of a certificate authority: those that the operating system trusts."""


def client_tls(settings: ClientTLSSettings | None) -> Tls | None:
    """None: nothing is added to what the endpoints get; hops within the mesh are safe by themselves."""
    if settings is None or settings.mode in ("DISABLE", "ISTIO_MUTUAL"):
        return None
    unchecked = bool(settings.insecure_skip_verify)
    return Tls(
        certificate=_certificate(settings) if settings.mode == "MUTUAL" else "",
        roots="" if unchecked else _roots(settings),
        revoked_file="" if unchecked else settings.ca_crl,
        names=() if unchecked else settings.subject_alt_names,
        sni=settings.sni,
    )


def _certificate(settings: ClientTLSSettings) -> str:
    if settings.credential_name:
        return f"kubernetes://{settings.credential_name}"
    return f"file-cert:{settings.client_certificate}~{settings.private_key}"


def _roots(settings: ClientTLSSettings) -> str:
    if settings.credential_name:
        return f"kubernetes://{settings.credential_name}-cacert"
    return f"file-root:{settings.ca_certificates or SYSTEM}"
