"""Istio's verdict on what an HTTP rule matches."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.networking.match import HTTPMatchRequest, StringMatch
from meshlite.model.rules import forms
from meshlite.model.rules.labels import labels


def http_match(match: HTTPMatchRequest, for_mesh: bool, at: Path) -> Iterator[Fault]:
    if match.uri and match.uri.regex is not None and (reason := forms.pattern(match.uri.regex)):
        yield Fault((*at, "uri", "regex"), reason)
    for name in ("scheme", "method", "authority"):
        chosen = getattr(match, name)
        if chosen is not None:
            yield from string_match(chosen, (*at, name))
    for key, value in match.query_params.items():
        yield from string_match(value, (*at, "queryParams", key))
    for field, headers in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
        for key, value in headers.items():
            yield from _header(key, value, for_mesh, (*at, field, key))
    yield from labels(match.source_labels, (*at, "sourceLabels"))
    if match.source_namespace and (reason := forms.host_label(match.source_namespace)):
        yield Fault((*at, "sourceNamespace"), reason)
    for place, name in enumerate(match.gateways):
        if reason := forms.gateway(name):
            yield Fault((*at, "gateways", place), reason)


def string_match(match: StringMatch, at: Path) -> Iterator[Fault]:
    """`regex: "*"` is Istio's way to say: present."""
    if match.prefix == "":
        yield Fault((*at, "prefix"), "a prefix must not be empty; write {} to ask for presence")
    if match.regex is not None and match.regex != "*" and (reason := forms.pattern(match.regex)):
        yield Fault((*at, "regex"), reason)


def _header(name: str, value: StringMatch, for_mesh: bool, at: Path) -> Iterator[Fault]:
    if reason := forms.header_to_match(name):
        yield Fault(at, reason)
    elif name.startswith("@request.auth.claims") and for_mesh:
        yield Fault(at, "routing by the claims of a token is for gateways only")
    yield from string_match(value, at)
