"""A guard as filters, in Istio's order: providers, tokens, what is noted, denied and allowed.

Filters that users bring along stand between them, by their phase.
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.ext_authz import asked
from meshlite.translate.envoy.extension import http_extensions
from meshlite.translate.envoy.jwt import tokens
from meshlite.translate.envoy.rbac import checks, notes
from meshlite.translate.envoy.schema import typed
from meshlite.translate.plan.extension import Extension
from meshlite.translate.plan.guard import Guard

_CODEC = {
    "name": "envoy.filters.http.upstream_codec",
    "typed_config": typed("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"),
}


def request_filters(
    guard: Guard, extensions: tuple[Extension, ...] = (), routed: bool = False
) -> list[dict[str, Any]]:
    """For a workload's own side of a call. `routed`: routes may depend on the claims of a token."""
    before, between, after = (
        http_extensions(tuple(one for one in extensions if one.place == place)) for place in range(3)
    )
    return [
        *asked(guard.asking, "http"),
        *before,
        *tokens(guard.issuers, routed),
        *between,
        *notes(guard, "http"),
        *checks(guard),
        *after,
    ]


def upstream_filters(guard: Guard) -> list[dict[str, Any]]:
    """For the caller's side, just before a request leaves: of each try, to the service finally chosen."""
    return [*checks(guard), _CODEC]


def connection_filters(guard: Guard) -> list[dict[str, Any]]:
    """What is asked and noted of a connection. What is denied never comes to a chain with these."""
    return [*asked(guard.asking, "network"), *notes(guard, "network")]
