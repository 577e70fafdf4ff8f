"""Providers that are asked about calls, over HTTP or gRPC.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/ext_authz/v3/ext_authz.proto
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.rbac import HTTP_RBAC, NETWORK_RBAC, Kind, denial, shadow
from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.values import duration, only
from meshlite.translate.plan.guard import Asking, Provider

HTTP_EXT_AUTHZ = "envoy.filters.http.ext_authz"
_NETWORK_EXT_AUTHZ = "envoy.filters.network.ext_authz"
_PREFIX = "istio_ext_authz_"
_HTTP = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
_NETWORK = "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz"


def asked(asking: tuple[Asking, ...], kind: Kind) -> list[dict[str, Any]]:
    """Which calls match is noted first; the provider is asked about those alone."""
    made: list[dict[str, Any]] = []
    for one in asking:
        if one.provider is None:
            made.append(denial(kind, one.clauses))
        else:
            made.append(shadow(kind, _PREFIX, one.clauses))
            made.append(_http(one.provider) if kind == "http" else _network(one.provider))
    return made


def _http(provider: Provider) -> dict[str, Any]:
    fields = {
        "filter_enabled_metadata": _matched(provider, HTTP_RBAC),
        "transport_api_version": "V3",
        "status_on_error": {"code": provider.status_on_error},
        **only(
            failure_mode_allow=provider.fail_open,
            clear_route_cache=provider.clear_route_cache,
            with_request_body=_body(provider) if provider.body else None,
        ),
    }
    if provider.kind == "grpc":
        fields["grpc_service"] = _grpc_service(provider)
    else:
        fields["http_service"] = _http_service(provider)
        fields |= only(allowed_headers=_patterns(provider.in_check) if provider.in_check else None)
    return {"name": HTTP_EXT_AUTHZ, "typed_config": typed(_HTTP, fields)}


def _network(provider: Provider) -> dict[str, Any]:
    fields = {
        "grpc_service": _grpc_service(provider),
        "filter_enabled_metadata": _matched(provider, NETWORK_RBAC),
        "transport_api_version": "V3",
        "stat_prefix": "tcp.",
        **only(failure_mode_allow=provider.fail_open),
    }
    return {"name": _NETWORK_EXT_AUTHZ, "typed_config": typed(_NETWORK, fields)}


def _matched(provider: Provider, noted_by: str) -> dict[str, Any]:
    prefix = {"string_match": {"prefix": f"istio-ext-authz-{provider.name}-"}}
    return {"filter": noted_by, "path": [{"key": f"{_PREFIX}shadow_effective_policy_id"}], "value": prefix}


def _grpc_service(provider: Provider) -> dict[str, Any]:
    return {
        "envoy_grpc": {"cluster_name": provider.cluster, "authority": provider.authority},
        "timeout": duration(provider.timeout),
    }


def _http_service(provider: Provider) -> dict[str, Any]:
    added = [{"key": name, "value": value} for name, value in provider.added]
    answer = only(
        allowed_upstream_headers=_patterns(provider.upstream) if provider.upstream else None,
        allowed_client_headers=_patterns(provider.on_deny) if provider.on_deny else None,
        allowed_client_headers_on_success=_patterns(provider.on_allow) if provider.on_allow else None,
    )
    return {
        "server_uri": {
            "uri": f"http://{provider.authority}",
            "cluster": provider.cluster,
            "timeout": duration(provider.timeout),
        },
        **only(
            path_prefix=provider.path_prefix,
            authorization_request={"headers_to_add": added} if added else None,
            authorization_response=answer,
        ),
    }


def _patterns(names: tuple[str, ...]) -> dict[str, Any]:
    return {"patterns": [_pattern(name) for name in names]}


def _pattern(name: str) -> dict[str, Any]:
    if name.startswith("*") and len(name) > 1:
        return {"suffix": name[1:], "ignore_case": True}
    if name.endswith("*") and len(name) > 1:
        return {"prefix": name[:-1], "ignore_case": True}
    return {"safe_regex": {"regex": ".*"}} if name == "*" else {"exact": name, "ignore_case": True}


def _body(provider: Provider) -> dict[str, Any]:
    return {"max_request_bytes": provider.body} | only(
        allow_partial_message=provider.partial_body, pack_as_bytes=provider.body_as_bytes
    )
