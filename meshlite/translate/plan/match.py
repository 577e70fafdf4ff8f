"""Decides which requests a match block of a VirtualService takes."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.networking import HTTPMatchRequest, StringMatch
from meshlite.translate.plan.route import ClaimMatch, HeaderMatch, Match, Text

_ANYTHING = Match()
_CLAIMS = "@request.auth.claims"


def match(block: HTTPMatchRequest | None, by_element: bool = False) -> Match:
    """What must hold for a request; without a block, nothing. `by_element`: how prefixes are compared."""
    if block is None:
        return _ANYTHING
    return Match(
        path=_path(block.uri, by_element) if block.uri is not None else Text("prefix", "/"),
        ignore_case=block.ignore_uri_case,
        headers=_headers(block),
        claims=tuple(_claims(block)),
        query=tuple(sorted((name, text(value)) for name, value in block.query_params.items())),
    )


def _path(value: StringMatch, by_element: bool) -> Text:
    """A prefix of whole elements takes `/a` and `/a/b`, not `/ab`."""
    if by_element and value.prefix is not None and value.prefix != "/":
        return Text("elements", value.prefix.removesuffix("/"))
    return text(value)


def text(value: StringMatch) -> Text:
    """Nothing set, and Istio's lone `*`, ask for presence only."""
    if value.exact is not None:
        return Text("exact", value.exact)
    if value.prefix is not None:
        return Text("prefix", value.prefix)
    if value.regex is not None and value.regex != "*":
        return Text("regex", value.regex)
    return Text("present")


def _headers(block: HTTPMatchRequest) -> tuple[HeaderMatch, ...]:
    wanted = [HeaderMatch(name, text(value)) for name, value in block.headers.items() if not _of_token(name)]
    unwanted = [
        HeaderMatch(name, text(value), invert=True)
        for name, value in block.without_headers.items()
        if not _of_token(name)
    ]
    pseudo = ((":method", block.method), (":authority", block.authority), (":scheme", block.scheme))
    return tuple(
        sorted(wanted + unwanted, key=lambda header: (header.name, header.invert))
        + [HeaderMatch(name, text(value)) for name, value in pseudo if value is not None]
    )


def _of_token(name: str) -> bool:
    return name.startswith(_CLAIMS)


def _claims(block: HTTPMatchRequest) -> Iterator[ClaimMatch]:
    for invert, values in ((False, block.headers), (True, block.without_headers)):
        for name, value in sorted(values.items()):
            if _of_token(name):
                yield ClaimMatch(_keys(name.removeprefix(_CLAIMS)), text(value), invert)


def _keys(path: str) -> tuple[str, ...]:
    """`.group` and `[a][b]`: one claim, or a nested one; a dot after the first is part of a name or nests."""
    if path.startswith("["):
        return tuple(path.strip("[]").split("]["))
    return tuple(path.removeprefix(".").split("."))
