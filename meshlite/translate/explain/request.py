"""A request to be explained, and whether it meets what a route asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import re2

from meshlite.translate.plan.route import HeaderMatch, Match, Text


@dataclass(frozen=True)
class Request:
    """`host` as the caller names it; `port` 0: the only one there is.

    `http` False: some other protocol. `tls`: within TLS of the caller's own. `claims`: of the token it
    carries; None: it carries none.
    """

    host: str
    port: int = 0
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    http: bool = True
    tls: bool = False
    claims: Mapping[str, object] | None = None


def destination(text: str) -> tuple[str, int, str]:
    """Host, port (0: not said) and path of `reviews`, `reviews:9080`, `http://reviews:9080/api`.

    Raises ValueError for what is none of these.
    """
    parts = urlsplit(text if "://" in text else f"//{text}")
    if not parts.hostname:
        raise ValueError(f"{text!r} names no host")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    standard = {"http": 80, "https": 443}.get(parts.scheme, 0)
    return parts.hostname, parts.port or standard, path


def unmet(match: Match, request: Request, address: str) -> str:
    """Why the request is not for a route; empty if it is. `address`: what the caller dials."""
    if match.destination is not None and not met(match.destination, address):
        return f"it is for requests that dial {match.destination.value}"
    path, _, query = request.path.partition("?")
    if not met(match.path, path, match.ignore_case):
        return f"path {path} {_unlike(match.path)}"
    for header in match.headers:
        if reason := _header(header, request):
            return reason
    given = dict(parse_qsl(query, keep_blank_values=True))
    for name, text in match.query:
        if name not in given:
            return f"query parameter {name} is missing"
        if not met(text, given[name]):
            return f"query parameter {name}: {given[name]} {_unlike(text)}"
    return ""


def met(text: Text, value: str, ignore_case: bool = False) -> bool:
    wanted, given = (text.value.lower(), value.lower()) if ignore_case else (text.value, value)
    match text.kind:
        case "exact":
            return given == wanted
        case "prefix":
            return given.startswith(wanted)
        case "elements":
            return f"{given}/".startswith(f"{wanted}/")
        case "regex":
            return re2.fullmatch(text.value, value) is not None
        case _:
            return True


def _header(header: HeaderMatch, request: Request) -> str:
    value = _header_value(header.name, request)
    good = value is not None and met(header.text, value)
    if good != header.invert:
        return ""
    if header.invert:
        return f"header {header.name} must not be {header.text.value or 'there'}"
    shown = "is missing" if value is None else f"is {value}, which {_unlike(header.text)}"
    return f"header {header.name} {shown}"


def _header_value(name: str, request: Request) -> str | None:
    pseudo = {":method": request.method, ":authority": request.host, ":scheme": "http", ":path": request.path}
    if name in pseudo:
        return pseudo[name]
    return {key.lower(): value for key, value in request.headers.items()}.get(name.lower())


def _unlike(text: Text) -> str:
    words = {
        "exact": "is not",
        "prefix": "does not start with",
        "elements": "is not below",
        "regex": "does not match",
    }
    return f"{words.get(text.kind, 'is not')} {text.value}"
