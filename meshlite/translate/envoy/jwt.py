"""Tokens (JWT): whose are good, and where requests carry them.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/jwt_authn/v3/config.proto
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.rbac import JWT, PAYLOAD
from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.values import only
from meshlite.translate.plan.guard import Issuer

_CONFIG = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"


def tokens(issuers: tuple[Issuer, ...], routed: bool = False) -> list[dict[str, Any]]:
    """A token must be good; having none is for policies to judge, unless an issuer's is required.

    `routed`: the route is chosen anew once claims are known.
    """
    if not issuers:
        return []
    fields = {
        "providers": {one.name: _provider(one) | only(clear_route_cache=routed) for one in issuers},
        "rules": [{"match": {"prefix": "/"}, "requires": _requirement(issuers)}],
        "bypass_cors_preflight": True,
    }
    return [{"name": JWT, "typed_config": typed(_CONFIG, fields)}]


def _requirement(issuers: tuple[Issuer, ...]) -> dict[str, Any]:
    """One of the tokens; or for each issuer that its token is good or not there."""
    if len(issuers) == 1:
        return _optional(issuers[0])
    each = {"requires_all": {"requirements": [_optional(one) for one in issuers]}}
    if any(one.required for one in issuers):
        return each
    some = [{"provider_name": one.name} for one in issuers]
    return {"requires_any": {"requirements": [*some, each]}}


def _optional(issuer: Issuer) -> dict[str, Any]:
    wanted: dict[str, Any] = {"provider_name": issuer.name}
    if issuer.required:
        return wanted
    return {"requires_any": {"requirements": [wanted, {"allow_missing": {}}]}}


def _provider(issuer: Issuer) -> dict[str, Any]:
    return {
        "local_jwks": {"inline_string": issuer.keys},
        "payload_in_metadata": PAYLOAD,
        "normalize_payload_in_metadata": {"space_delimited_claims": list(issuer.spaced)},
        **only(
            issuer=issuer.issuer,
            audiences=list(issuer.audiences),
            from_headers=[{"name": name, **only(value_prefix=prefix)} for name, prefix in issuer.headers],
            from_params=list(issuer.params),
            from_cookies=list(issuer.cookies),
            forward=issuer.forward,
            forward_payload_header=issuer.payload_header,
            claim_to_headers=[
                {"header_name": header, "claim_name": claim} for header, claim in issuer.outputs
            ],
        ),
    }
