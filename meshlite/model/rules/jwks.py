"""Istio's verdict on an inline key set of a token's issuer.

Source: https://www.rfc-editor.org/rfc/rfc7517 and https://www.rfc-editor.org/rfc/rfc7518#section-6
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.scalars import shown

_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "oct": ("k",)}
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+=*")


def jwks(text: str, at: Path) -> Iterator[Fault]:
    """A JSON Web Key Set, or a single key; private keys in it are warned of."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        yield Fault(at, "is not JSON: write a key set as the issuer serves it")
        return
    keys = value.get("keys", [value]) if isinstance(value, dict) else None
    if not isinstance(keys, list):
        yield Fault(at, 'is not a key set: {"keys": [...]}')
        return
    if not keys:
        yield Fault(at, "has no key: no token of this issuer is good", warning=True)
    for place, key in enumerate(keys):
        if reason := _key(key):
            yield Fault(at, f"key {place}: {reason}")
        elif "d" in key or key["kty"] == "oct":
            yield Fault(at, f"key {place} holds a private key; only public ones are used", warning=True)


def usable(key: object) -> bool:
    """A public key of a form that is known; an issuer gives nobody its private ones."""
    return isinstance(key, dict) and not _key(key) and "d" not in key and key["kty"] != "oct"


def _key(key: object) -> str:
    if not isinstance(key, dict):
        return "is not a mapping"
    kind = key.get("kty")
    members = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if members is None:
        return f"kty must be one of {', '.join(_MEMBERS)}, not {shown(kind)}"
    for name in members:
        value = key.get(name)
        if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
            return f"{kind} needs {name}" + ("" if name == "crv" else " in base64url")
    return ""
