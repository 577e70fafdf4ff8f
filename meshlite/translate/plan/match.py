"""Decides which requests a match block of a VirtualService takes."""

from __future__ import annotations

from meshlite.model.networking import HTTPMatchRequest, StringMatch
from meshlite.translate.plan.route import HeaderMatch, Match, Text

_ANYTHING = Match()


def match(block: HTTPMatchRequest | None, by_element: bool = False) -> Match:
    """What must hold for a request; without a block, nothing. `by_element`: how prefixes are compared."""
    if block is None:
        return _ANYTHING
    return Match(
        path=_path(block.uri, by_element) if block.uri is not None else Text("prefix", "/"),
        ignore_case=block.ignore_uri_case,
        headers=_headers(block),
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
    wanted = [HeaderMatch(name, text(value)) for name, value in block.headers.items()]
    unwanted = [HeaderMatch(name, text(value), invert=True) for name, value in block.without_headers.items()]
    pseudo = ((":method", block.method), (":authority", block.authority), (":scheme", block.scheme))
    return tuple(
        sorted(wanted + unwanted, key=lambda header: (header.name, header.invert))
        + [HeaderMatch(name, text(value)) for name, value in pseudo if value is not None]
    )
