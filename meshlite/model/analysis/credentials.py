"""Whether the parts of a credential make a certificate that can be served.

Source: https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_PAIRS = (("tls.crt", "tls.key"), ("cert", "key"))


def wrong_with(data: Mapping[str, bytes], now: float) -> str:
    """A sentence, or nothing. `now`: seconds since 1970."""
    pair = next(((cert, key) for cert, key in _PAIRS if cert in data or key in data), None)
    if pair is None:
        return (
            ""
            if data.get("ca.crt") or data.get("cacert")
            else "it has neither tls.crt and tls.key nor cert and key"
        )
    missing = [name for name in pair if not data.get(name)]
    if missing:
        return f"it has no {missing[0]}"
    try:
        leaf = x509.load_pem_x509_certificates(data[pair[0]])[0]
    except ValueError:
        return f"{pair[0]} is not a certificate"
    try:
        load_pem_private_key(data[pair[1]], password=None)
    except (ValueError, TypeError):
        return f"{pair[1]} is not a private key"
    moment = datetime.fromtimestamp(now, UTC)
    if moment > leaf.not_valid_after_utc:
        return f"it expired at {leaf.not_valid_after_utc.isoformat()}"
    return "it is not valid yet" if moment < leaf.not_valid_before_utc else ""
