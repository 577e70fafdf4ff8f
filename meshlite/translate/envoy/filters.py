"""The HTTP filters every connection manager has, in their order, and what routes say to them."""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.values import duration, fraction, only, share, string_match
from meshlite.translate.plan.route import MILLION, Cors, Fault, Route

FAULT = "envoy.filters.http.fault"
CORS = "envoy.filters.http.cors"
ROUTER = "envoy.filters.http.router"

_FAULT_CONFIG = "envoy.extensions.filters.http.fault.v3.HTTPFault"
_CORS = "envoy.extensions.filters.http.cors.v3"

HTTP_FILTERS: tuple[dict[str, Any], ...] = (
    {"name": FAULT, "disabled": True, "typed_config": typed(_FAULT_CONFIG)},
    {"name": CORS, "disabled": True, "typed_config": typed(f"{_CORS}.Cors")},
    {
        "name": ROUTER,
        "typed_config": typed(
            "envoy.extensions.filters.http.router.v3.Router",
            {"dynamic_stats": False, "suppress_envoy_headers": True},
        ),
    },
)
"""Always all of them: a filter that came with a route would change the listener and drain its connections.

A disabled filter costs nothing until a route has configuration for it.
"""


def per_route(route: Route) -> dict[str, Any]:
    configured: dict[str, Any] = {}
    if route.fault is not None:
        configured[FAULT] = typed(_FAULT_CONFIG, _fault(route.fault))
    if route.cors is not None:
        configured[CORS] = typed(f"{_CORS}.CorsPolicy", _cors(route.cors))
    return configured


def _fault(fault: Fault) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if fault.delay is not None:
        fields["delay"] = {"fixed_delay": duration(fault.delay), "percentage": share(fault.delay_share)}
    if fault.http_status is not None:
        fields["abort"] = {"http_status": fault.http_status, "percentage": share(fault.abort_share)}
    elif fault.grpc_status is not None:
        fields["abort"] = {"grpc_status": fault.grpc_status, "percentage": share(fault.abort_share)}
    return fields


def _cors(cors: Cors) -> dict[str, Any]:
    fields = only(
        allow_origin_string_match=[string_match(origin) for origin in cors.origins],
        allow_methods=cors.methods,
        allow_headers=cors.request_headers,
        expose_headers=cors.response_headers,
        max_age=cors.max_age,
    )
    if cors.credentials is not None:
        fields["allow_credentials"] = cors.credentials
    fields["forward_not_matching_preflights"] = cors.forward_unmatched
    return fields | {"filter_enabled": fraction(MILLION)}
