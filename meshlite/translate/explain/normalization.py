"""Paths made plain as the proxy makes them, before policies compare them.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ProxyPathNormalization
"""

from __future__ import annotations

import re
import string
from itertools import pairwise
from urllib.parse import unquote

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_ENCODED = re.compile("%[0-9A-Fa-f]{2}")


def normalised(path: str, how: str) -> str:
    """`how`: NONE, BASE (RFC 3986, and `\\` is `/`), MERGE_SLASHES, DECODE_AND_MERGE_SLASHES."""
    if how == "NONE":
        return path
    if how == "DECODE_AND_MERGE_SLASHES":
        path = re.sub("%2[fF]", "/", re.sub("%5[cC]", "/", path))
    path = _ENCODED.sub(lambda found: _plain(found[0]), path).replace("\\", "/")
    path = _without_dots(path)
    return path if how == "BASE" else _merged(path)


def _plain(encoded: str) -> str:
    letter = unquote(encoded, "latin-1")
    return letter if letter in _UNRESERVED else encoded


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4."""
    *before, last = path.split("/")[1:]
    kept: list[str] = []
    for part in before:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if last == "..":
        del kept[-1:]
    return "/" + "/".join([*kept, "" if last in (".", "..") else last])


def _merged(path: str) -> str:
    letters = (here for before, here in pairwise(" " + path) if (before, here) != ("/", "/"))
    return "".join(letters)
