"""Single values of Gateway API, with the lengths and forms its custom resource definitions demand.

Source: https://gateway-api.sigs.k8s.io/reference/spec/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from meshlite.model.names import canonical_namespace
from meshlite.model.scalars import read_duration, refuse, shown, write_duration

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_TOKEN = r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+"


def _form(pattern: str, longest: int, what: str, shortest: int = 1) -> Callable[[str], str]:
    """A check of a string: `what` says what it should have been."""
    form = re.compile(pattern)

    def check(text: str) -> str:
        if len(text) < shortest:
            raise refuse("must not be empty")
        if len(text) > longest:
            raise refuse(f"has {len(text)} characters; at most {longest} are allowed")
        if not form.fullmatch(text):
            raise refuse(f"{shown(text)} is not {what}")
        return text

    return check


def whole(low: int, high: int) -> BeforeValidator:
    """A whole number in a range; unlike in Istio's own resources, text is no number here."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise refuse(f"must be a whole number, not {shown(value)}")
        if not low <= value <= high:
            raise refuse(f"{value} is not between {low} and {high}")
        return value

    return BeforeValidator(read)


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise refuse(
            f"{shown(value)} is not a duration: write whole numbers with units, e.g. 5s, 250ms or 1h30m"
        )
    return read_duration(value)


Text = Annotated[str, AfterValidator(_form(r"(?s).*", 4096, "text", 0))]
Path = Annotated[str, AfterValidator(_form(r"(?s).*", 1024, "a path", 0))]
ObjectName = Annotated[str, AfterValidator(_form(r"(?s).*", 253, "a name"))]
Namespace = Annotated[
    str,
    AfterValidator(_form(r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?", 63, "a namespace")),
    AfterValidator(canonical_namespace),
]
Group = Annotated[
    str, AfterValidator(_form(rf"({_SUBDOMAIN})?", 253, "an API group, e.g. gateway.networking.k8s.io", 0))
]
Kind = Annotated[str, AfterValidator(_form(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?", 63, "a kind"))]
SectionName = Annotated[
    str, AfterValidator(_form(_SUBDOMAIN, 253, "a name: small letters, digits, - and . are allowed"))
]
Hostname = Annotated[
    str,
    AfterValidator(
        _form(rf"(\*\.)?{_SUBDOMAIN}", 253, "a host name: small letters, with *. only at the beginning")
    ),
]
PreciseHostname = Annotated[
    str, AfterValidator(_form(_SUBDOMAIN, 253, "a host name: small letters, without wildcard"))
]
Protocol = Annotated[
    str, AfterValidator(_form(rf"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?|{_SUBDOMAIN}/\S+", 255, "a protocol"))
]
ControllerName = Annotated[
    str, AfterValidator(_form(rf"{_SUBDOMAIN}/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", 253, "a controller's name"))
]
HeaderName = Annotated[str, AfterValidator(_form(_TOKEN, 256, "a header's name"))]
HeaderValue = Annotated[
    str, AfterValidator(_form(r"[!-~]+([\t ]?[!-~]+)*", 4096, "a header's value: visible characters"))
]
Origin = Annotated[
    str,
    AfterValidator(
        _form(
            r"\*|https?://((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:[0-9]{1,5})?",
            253,
            "an origin, e.g. https://*.example.com:8443",
        )
    ),
]
URI = Annotated[str, AfterValidator(_form(r"([^:/?#]+):(//([^/?#]*))([^?#]*)(\?[^#]*)?(#.*)?", 253, "a URI"))]
Port = Annotated[int, whole(1, 65535)]
Weight = Annotated[int, whole(0, 1_000_000)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(write_duration, return_type=str, when_used="json"),
]
"""As https://gateway-api.sigs.k8s.io/geps/gep-2257/ has it: a part of Go's durations. 0s means none."""
