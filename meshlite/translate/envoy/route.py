"""Route configurations: virtual hosts, matches and actions.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto
"""

from __future__ import annotations

import base64
from typing import Any

from meshlite.translate.envoy.filters import per_route
from meshlite.translate.envoy.rbac import JWT, PAYLOAD, text_match
from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.values import duration, fraction, only, string_match
from meshlite.translate.plan.route import (
    ClaimMatch,
    Forward,
    HashKey,
    HeaderChange,
    HeaderChanges,
    HeaderMatch,
    Match,
    Mirror,
    Redirect,
    Respond,
    Retry,
    Route,
    Target,
    Text,
)

DESTINATION = "meshlite.destination"
"""Filter state that listeners set: the address the client dialled."""

_BODY_LIMIT = 2**20
_CHOICES = 32
"""How often a retry lets the load balancer choose until it names a host that was not tried.

Least request draws two at random and prefers the idle one, which a host that refuses is: of two hosts the
dead one wins 3 in 4 times. Only retries pay for it.
"""
_REDIRECTS = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_MISSING = {404: "NOT_FOUND", 500: "INTERNAL_SERVER_ERROR"}
_OTHER_HOSTS = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
}
_OTHER_PRIORITIES = {
    "name": "envoy.retry_priorities.previous_priorities",
    "typed_config": typed(
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        {"update_frequency": 2},
    ),
}


def table_head(name: str) -> dict[str, Any]:
    """A route configuration without its virtual hosts. A missing cluster is a 503, not an error."""
    return {
        "name": name,
        "validate_clusters": False,
        "max_direct_response_body_size_bytes": _BODY_LIMIT,
        "ignore_port_in_host_matching": True,
    }


def host_head(name: str, domains: tuple[str, ...], encrypted: bool) -> dict[str, Any]:
    """A virtual host without its routes."""
    return {"name": name, "domains": list(domains), **only(require_tls="ALL" if encrypted else None)}


def route(route: Route) -> dict[str, Any]:
    """A route without its match."""
    fields = only(
        name=route.name,
        stat_prefix=route.stat_prefix,
        typed_per_filter_config=per_route(route),
    )
    action: dict[str, Any]
    match route.action:
        case Forward():
            action = {"route": _forward(route.action)}
        case Redirect():
            action = {"redirect": _redirect(route.action)}
        case Respond():
            action = {"direct_response": _respond(route.action)}
    return {**fields, **_headers(route.headers), **action}


def route_match(match: Match) -> dict[str, Any]:
    return {"match": _match(match)}


def _match(match: Match) -> dict[str, Any]:
    fields = _path(match.path)
    if match.ignore_case:
        fields["case_sensitive"] = False
    if match.headers:
        fields["headers"] = [_header(header) for header in match.headers]
    if match.query:
        fields["query_parameters"] = [{"name": name, **_value(text)} for name, text in match.query]
    if match.claims:
        fields["dynamic_metadata"] = [_claim(claim) for claim in match.claims]
    if match.destination is not None:
        fields["filter_state"] = [{"key": DESTINATION, "string_match": string_match(match.destination)}]
    return fields


def _claim(claim: ClaimMatch) -> dict[str, Any]:
    """A string, or an item of a list of strings."""
    value = {"string_match": text_match(claim.text)}
    return {
        "filter": JWT,
        "path": [{"key": key} for key in (PAYLOAD, *claim.keys)],
        "value": {"or_match": {"value_matchers": [value, {"list_match": {"one_of": value}}]}},
        **only(invert=claim.invert),
    }


def _path(path: Text) -> dict[str, Any]:
    if path.kind == "exact":
        return {"path": path.value}
    if path.kind == "elements":
        return {"path_separated_prefix": path.value}
    if path.kind == "regex":
        return {"safe_regex": {"regex": path.value}}
    return {"prefix": path.value or "/"}


def _value(text: Text) -> dict[str, Any]:
    return {"present_match": True} if text.kind == "present" else {"string_match": string_match(text)}


def _header(header: HeaderMatch) -> dict[str, Any]:
    fields = {"name": header.name, **_value(header.text)}
    if header.invert:
        fields["invert_match"] = True
        if header.text.kind != "present":
            fields["treat_missing_header_as_empty"] = True
    return fields


def _forward(action: Forward) -> dict[str, Any]:
    fields = only(
        prefix_rewrite=action.prefix,
        host_rewrite_literal=action.host,
        retry_policy=_retry(action.retry, len(action.targets) > 1) if action.retry is not None else None,
        request_mirror_policies=[_mirror(mirror) for mirror in action.mirrors],
        hash_policy=[hash_policy(key) for key in action.hash_keys],
    )
    if rewrite := _substitution(action.pattern, action.substitution):
        fields["regex_rewrite"] = rewrite
    if action.missing != 503:
        fields["cluster_not_found_response_code"] = _MISSING[action.missing]
    fields["timeout"] = duration(action.timeout) if action.timeout is not None else "0s"
    if len(action.targets) == 1:
        return {"cluster": action.targets[0].cluster, **fields}
    return {"weighted_clusters": {"clusters": [_target(target) for target in action.targets]}, **fields}


def _target(target: Target) -> dict[str, Any]:
    fields = {"name": target.cluster, "weight": target.weight, **_headers(target.headers)}
    return fields | only(host_rewrite_literal=target.host)


def _retry(retry: Retry, several: bool) -> dict[str, Any]:
    """With several clusters each try chooses again: else all tries would go to the one that fails."""
    fields = only(
        retriable_status_codes=list(retry.codes),
        per_try_timeout=duration(retry.per_try_timeout) if retry.per_try_timeout is not None else None,
        retry_back_off={"base_interval": duration(retry.backoff)} if retry.backoff is not None else None,
        retry_host_predicate=[_OTHER_HOSTS] if retry.other_hosts else None,
        retry_priority=_OTHER_PRIORITIES if retry.other_priorities else None,
        refresh_cluster_on_retry=several,
    )
    return {
        "retry_on": retry.on,
        "num_retries": retry.attempts,
        "host_selection_retry_max_attempts": _CHOICES,
        **fields,
    }


def _mirror(mirror: Mirror) -> dict[str, Any]:
    return {
        "cluster": mirror.cluster,
        "runtime_fraction": fraction(mirror.share),
        "trace_sampled": False,
        "disable_shadow_host_suffix_append": True,
    }


def hash_policy(key: HashKey) -> dict[str, Any]:
    match key.kind:
        case "header":
            return {"header": {"header_name": key.name}}
        case "query":
            return {"query_parameter": {"name": key.name}}
        case "address":
            return {"connection_properties": {"source_ip": True}}
        case "cookie":
            fields = {"name": key.name, **only(path=key.cookie_path)}
            if key.cookie_ttl is not None:
                fields["ttl"] = duration(key.cookie_ttl)
            attributes = [{"name": name, "value": value} for name, value in key.cookie_attributes]
            return {"cookie": fields | only(attributes=attributes)}


def _redirect(action: Redirect) -> dict[str, Any]:
    return only(
        response_code=_REDIRECTS[action.code],
        host_redirect=action.host,
        path_redirect=action.path,
        prefix_rewrite=action.prefix,
        scheme_redirect=action.scheme,
        port_redirect=action.port,
        regex_rewrite=_substitution(action.pattern, action.substitution),
    )


def _substitution(pattern: str, substitution: str) -> dict[str, Any]:
    return {"pattern": {"regex": pattern}, "substitution": substitution} if pattern else {}


def _respond(action: Respond) -> dict[str, Any]:
    if not action.body:
        return {"status": action.status}
    return {"status": action.status, "body": {"inline_bytes": base64.b64encode(action.body).decode()}}


def _headers(changes: HeaderChanges) -> dict[str, Any]:
    return only(
        request_headers_to_add=_added(changes.request),
        request_headers_to_remove=list(changes.request.remove),
        response_headers_to_add=_added(changes.response),
        response_headers_to_remove=list(changes.response.remove),
    )


def _added(change: HeaderChange) -> list[dict[str, Any]]:
    return [
        {"header": {"key": name, "value": value}, "append_action": how}
        for how, values in (
            ("OVERWRITE_IF_EXISTS_OR_ADD", change.set),
            ("APPEND_IF_EXISTS_OR_ADD", change.add),
        )
        for name, value in values
    ]
