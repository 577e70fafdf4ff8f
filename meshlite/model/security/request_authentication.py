"""RequestAuthentication: whose tokens (JWT) a workload takes, and where a request carries them.

Source: https://istio.io/latest/docs/reference/config/security/request_authentication/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from meshlite.model.message import Message
from meshlite.model.scalars import Bool, PositiveDuration, by_number
from meshlite.model.selector import PolicyTargetReference, WorkloadSelector

DISCOVERY = "/.well-known/openid-configuration"
"""Where an issuer says where its keys are. https://openid.net/specs/openid-connect-discovery-1_0.html"""

_Presence = Literal["OPTIONAL", "REQUIRED"]
Presence = Annotated[_Presence, by_number(_Presence)]


class JWTHeader(Message):
    """`prefix` is stripped from the header's value and must match exactly."""

    name: str
    prefix: str = ""


class ClaimToHeader(Message):
    """`claim` may be nested, with dots."""

    header: str
    claim: str


class JWTRule(Message):
    """One issuer. Keys: inline (`jwks`), from a URL, or by OpenID discovery from the issuer.

    Without any `from_` field: `Authorization: Bearer` and the query parameter `access_token`.
    """

    oneofs: ClassVar = (("jwks_uri", "jwks"),)

    issuer: str | None = None
    audiences: tuple[str, ...] = ()
    jwks_uri: str | None = None
    jwks: str = ""
    from_headers: tuple[JWTHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    output_payload_to_header: str = ""
    forward_original_token: Bool = False
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    timeout: PositiveDuration | None = None
    space_delimited_claims: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    presence: Presence = "OPTIONAL"

    @property
    def key_source(self) -> str:
        """The URL that keys are fetched from: the key set's, else OpenID's discovery; empty: none is."""
        if self.jwks or self.jwks_uri:
            return "" if self.jwks else self.jwks_uri or ""
        return f"{(self.issuer or '').rstrip('/')}{DISCOVERY}"


class RequestAuthentication(Message):
    """All policies of a workload are combined: a token of any of their issuers is good."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], Field(max_length=16)] = ()
    jwt_rules: Annotated[tuple[JWTRule, ...], Field(max_length=4096)] = ()
