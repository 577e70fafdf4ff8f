"""Secrets that are given out once: what is handed over, and what is kept to know it again."""

from __future__ import annotations

import hashlib
import secrets


def new() -> str:
    """256 random bits, in characters that need no quoting anywhere."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is kept of a token, with or without the pin behind its dot.

    The secret has 256 random bits: a plain hash cannot be turned back.
    """
    return hashlib.sha256(token.split(".", 1)[0].encode(errors="surrogatepass")).hexdigest()
