"""Istio's verdict on a RequestAuthentication: issuers, keys, and where tokens are carried."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.rules import forms
from meshlite.model.rules.jwks import jwks
from meshlite.model.rules.targets import targets
from meshlite.model.scalars import shown
from meshlite.model.security.request_authentication import JWTRule, RequestAuthentication

_URL = re.compile(r"(?i:https?)://[^\s/?#\\]+(?:[/?#][^\s\\\x00-\x1f\x7f]*)?")
_CLAIM_HEADER = re.compile(r"[-_A-Za-z0-9]+")


def request_authentication(spec: RequestAuthentication, resource: Resource) -> Iterator[Fault]:
    yield from targets(spec)
    for place, rule in enumerate(spec.jwt_rules):
        yield from _jwt_rule(rule, ("spec", "jwtRules", place))


def _jwt_rule(rule: JWTRule, at: Path) -> Iterator[Fault]:
    if rule.issuer == "":
        yield Fault((*at, "issuer"), "must not be empty")
    elif rule.issuer is None and not rule.jwks_uri:
        yield Fault((*at, "issuer"), "is required where there is no jwksUri")
    if rule.jwks_uri is not None and (reason := _url(rule.jwks_uri)):
        yield Fault((*at, "jwksUri"), reason)
    if rule.jwks:
        yield from jwks(rule.jwks, (*at, "jwks"))
    for name, values in (
        ("audiences", rule.audiences),
        ("fromParams", rule.from_params),
        ("fromCookies", rule.from_cookies),
        ("spaceDelimitedClaims", rule.space_delimited_claims),
    ):
        yield from _no_empty(values, (*at, name))
    yield from _headers(rule, at)


def _headers(rule: JWTRule, at: Path) -> Iterator[Fault]:
    for place, header in enumerate(rule.from_headers):
        if reason := forms.token(header.name):
            yield Fault((*at, "fromHeaders", place, "name"), reason)
    for place, output in enumerate(rule.output_claim_to_headers):
        here = (*at, "outputClaimToHeaders", place)
        if not _CLAIM_HEADER.fullmatch(output.header):
            reason = f"{shown(output.header)} is not a header's name: letters, digits, - and _"
            yield Fault((*here, "header"), reason)
        if not output.claim:
            yield Fault((*here, "claim"), "must not be empty")
    if rule.output_payload_to_header and (reason := forms.token(rule.output_payload_to_header)):
        yield Fault((*at, "outputPayloadToHeader"), reason)


def _url(text: str) -> str:
    if len(text) > 2048:
        return "has at most 2048 characters"
    if re.search(r"%(?![0-9A-Fa-f]{2})", text) or not _URL.fullmatch(text):
        return f"{shown(text)} is not a URL that starts with http:// or https://"
    port = text.split("/")[2].rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    return f"{shown(port)} is not a port" if port and not (port.isascii() and port.isdigit()) else ""


def _no_empty(values: Sequence[str], at: Path) -> Iterator[Fault]:
    for place, value in enumerate(values):
        if not value:
            yield Fault((*at, place), "must not be empty")
