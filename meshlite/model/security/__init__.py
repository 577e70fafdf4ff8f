"""The security.istio.io API: its resources and their parts."""

from meshlite.model.security.authorization_policy import (
    AuthorizationPolicy,
    Condition,
    ExtensionProvider,
    From,
    Operation,
    Rule,
    Source,
    To,
)
from meshlite.model.security.peer_authentication import MutualTLS, PeerAuthentication
from meshlite.model.security.request_authentication import (
    ClaimToHeader,
    JWTHeader,
    JWTRule,
    RequestAuthentication,
)

__all__ = [
    "AuthorizationPolicy",
    "ClaimToHeader",
    "Condition",
    "ExtensionProvider",
    "From",
    "JWTHeader",
    "JWTRule",
    "MutualTLS",
    "Operation",
    "PeerAuthentication",
    "RequestAuthentication",
    "Rule",
    "Source",
    "To",
]
