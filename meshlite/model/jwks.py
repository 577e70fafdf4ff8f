"""Key sets of issuers of tokens: what of one is of use, and one that no token is good by.

Source: https://www.rfc-editor.org/rfc/rfc7517
"""

from __future__ import annotations

import json

from meshlite.model.rules.jwks import usable


def public(text: str) -> str:
    """A fetched key set, only with keys that Envoy takes. Raises ValueError, with the reason, if none is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("what it gives is not JSON") from None
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list):
        raise ValueError('what it gives is not a key set: {"keys": [...]}')
    good = [key for key in keys if usable(key)]
    if not good:
        raise ValueError("its key set has no key that can be used")
    return json.dumps({"keys": good}, sort_keys=True)


def inline(text: str) -> str:
    """A key set, or a single key, that somebody wrote, as Envoy takes it; without a key of use, `UNKNOWN`."""
    value = json.loads(text)
    keys = [key for key in value.get("keys", [value]) if key.get("crv", _CURVES[0]) in _CURVES]
    return json.dumps({"keys": keys}, sort_keys=True) if keys else UNKNOWN


_CURVES = ("P-256", "P-384", "P-521", "Ed25519")

UNKNOWN = json.dumps(
    {
        "keys": [
            {
                "kty": "RSA",
                "kid": "not-fetched-yet",
                "e": "AQAB",
                "n": (
                    "xYsKMkZmm-SHkMmHESCWvMojOKwvMpfBDhP5ettc6c_VT5OJOrpodhs4e38eUvnqyTtm6noY2Fg7fQom"
                    "nb-aTCHePXwdgFq95lEF_hregXVpf5ky44EN9VRqy5dw3b3SMOQ-Ed0pEWyZTAuSVrdGXYEu9tAnJ9Jw"
                    "If3Hlyt0I-GR-H30lTA9xkwnPEQ6boMm2LZE3bMgDcN3c2V_-ydW50T6rbJfmf01oxf2guvubpnmc6HK"
                    "Z4S32gl-YExcalRJHHVx5tuQ53i4kLAEk5DL7XKD55L3wDtLWuTn9au9EkG4Rvh35UZ-3EfIdJE3RyEv"
                    "9OJQvH0gVCQkwzuVt5GFIQ"
                ),
            }
        ]
    }
)
"""Stands for a key set that was not fetched yet, or has no key. Nobody has its private key."""
