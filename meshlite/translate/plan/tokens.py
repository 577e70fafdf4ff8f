"""Decides whose tokens a workload takes, and where it looks for them: RequestAuthentication.

Source: https://istio.io/latest/docs/reference/config/security/request_authentication/
"""

from __future__ import annotations

from collections.abc import Mapping

from meshlite.model.jwks import UNKNOWN, inline
from meshlite.model.security import JWTRule, RequestAuthentication
from meshlite.translate.plan.guard import Issuer
from meshlite.translate.plan.resources import Applied

_HEADERS = (("authorization", "Bearer "),)
_PARAMS = ("access_token",)
_SPACED = ("permission", "scope")


def issuers(applied: Applied[RequestAuthentication], sets: Mapping[str, str]) -> tuple[Issuer, ...]:
    """`sets`: key sets that were fetched, by their URL."""
    return tuple(
        _issuer(f"{applied.namespace}/{applied.resource.name}/{place}", rule, sets)
        for place, rule in enumerate(applied.spec.jwt_rules)
    )


def _issuer(name: str, rule: JWTRule, sets: Mapping[str, str]) -> Issuer:
    located = bool(rule.from_headers or rule.from_params or rule.from_cookies)
    headers = tuple((header.name.lower(), header.prefix) for header in rule.from_headers)
    return Issuer(
        name,
        rule.issuer or "",
        rule.audiences,
        inline(rule.jwks) if rule.jwks else sets.get(rule.key_source, UNKNOWN),
        headers if located else _HEADERS,
        rule.from_params if located else _PARAMS,
        rule.from_cookies,
        rule.output_payload_to_header,
        tuple((output.header, output.claim) for output in rule.output_claim_to_headers),
        rule.forward_original_token,
        tuple(dict.fromkeys((*_SPACED, *rule.space_delimited_claims))),
        rule.presence == "REQUIRED",
    )
