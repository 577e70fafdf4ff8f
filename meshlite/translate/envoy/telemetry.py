"""Counters of requests and connections, with few labels: their cost is metrics times labels.

The agent expands them to Istio's names and labels, which it knows from the snapshot.
Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/access_loggers/stats/v3/stats.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshlite.translate.envoy.rbac import AUDIT, HTTP_RBAC, NETWORK_RBAC, PRINCIPAL, TRIAL_ALLOW, TRIAL_DENY
from meshlite.translate.envoy.schema import typed
from meshlite.translate.plan.guard import Guard, Rules
from meshlite.translate.plan.listener import Denied, Entrance

SCOPE = "meshlite"

_DENIED = (
    "response.code_details.startsWith('rbac_access_denied')"
    " || response.code_details.startsWith('jwt_authn_access_denied')"
    " || response.code_details.startsWith('ext_authz_')"
)
_CALLER = f"%FILTER_STATE({PRINCIPAL}:PLAIN)%"
_FROM = f"from {_CALLER} at %DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"
_REQUEST = "%REQ(:METHOD)% %REQ(:AUTHORITY)% %PATH(NQ)%"


def request_log(entrance: Entrance) -> list[dict[str, Any]]:
    """For each HTTP request: who, to which cluster, with what answer."""
    labels = {**_labels(entrance), "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%"}
    return [_logger([_counter("requests", labels, {"value_fixed": 1})])]


def connection_log(entrance: Entrance) -> list[dict[str, Any]]:
    """For each connection at its end. Those that carried HTTP have an empty cluster."""
    labels = {**_labels(entrance), "flags": "%RESPONSE_FLAGS%"}
    counters = [
        _counter("connections", labels, {"value_fixed": 1}),
        _counter("received_bytes", labels, {"value_format": "%BYTES_RECEIVED%"}),
        _counter("sent_bytes", labels, {"value_format": "%BYTES_SENT%"}),
    ]
    return [_logger(counters)]


def _labels(entrance: Entrance) -> dict[str, str]:
    """What enters from outside the mesh all goes through one cluster, so its destination is named, too."""
    labels = {"source": entrance.source.label, "cluster": "%UPSTREAM_CLUSTER%"}
    if entrance.inbound:
        labels["destination"] = f"{entrance.destination}:%DOWNSTREAM_LOCAL_PORT%"
    return labels


def _counter(name: str, labels: dict[str, str], value: dict[str, Any]) -> dict[str, Any]:
    tags = [{"name": label, "value_format": format} for label, format in labels.items()]
    return {"stat": {"name": name, "tags": tags}, **value}


def _logger(counters: list[dict[str, Any]]) -> dict[str, Any]:
    """One scope for all listeners, so that counts survive a listener."""
    return {
        "name": "envoy.access_loggers.stats",
        "typed_config": typed(
            "envoy.extensions.access_loggers.stats.v3.Config",
            {"stats_scope": {"prefix": SCOPE, "sharing_name": SCOPE}, "counters": counters},
        ),
    }


def denied_requests(entrance: Entrance) -> list[dict[str, Any]]:
    """For requests that a policy ends: a line that says who, what and which policy, and a count."""
    to = entrance.destination or "%UPSTREAM_CLUSTER%"
    line = f"denied {_REQUEST} of {to} {_FROM}: %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%"
    refused = {
        "status_code_filter": {
            "comparison": {"op": "GE", "value": {"default_value": 400, "runtime_key": "x"}}
        }
    }
    cel = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    by_policy = {"extension_filter": {"name": "cel", "typed_config": typed(cel, {"expression": _DENIED})}}
    chosen = {"and_filter": {"filters": [refused, by_policy]}}
    return [
        _line(line, chosen),
        {**_denials(entrance.inbound, to, "%RESPONSE_CODE_DETAILS%"), "filter": chosen},
    ]


def denied_connections(inbound: bool, denied: Denied) -> list[dict[str, Any]]:
    """The same for a chain that ends connections."""
    line = f"denied connection to {denied.destination} {_FROM}: {denied.policy}"
    return [_line(line), _denials(inbound, denied.destination, denied.policy)]


def notable(guard: Guard) -> bool:
    return bool(guard.audited) or guard.trial != Rules()


def noted_requests(entrance: Entrance) -> list[dict[str, Any]]:
    """For requests that an audit is about, or that policies which are tried out would deny."""
    return list(_noted(f"{_REQUEST} of {entrance.destination} {_FROM}", HTTP_RBAC))


def noted_connections(inbound: bool) -> list[dict[str, Any]]:
    return list(_noted(f"connection to %DOWNSTREAM_LOCAL_ADDRESS% {_FROM}", NETWORK_RBAC))


def _noted(what: str, by: str) -> Iterator[dict[str, Any]]:
    for prefix, word in ((AUDIT, "audit"), (TRIAL_DENY, "would deny"), (TRIAL_ALLOW, "would not allow")):
        result, policy = f"{prefix}shadow_engine_result", f"{prefix}shadow_effective_policy_id"
        matcher = {"filter": by, "path": [{"key": result}], "value": {"string_match": {"exact": "denied"}}}
        chosen = {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}
        yield _line(f"{word} {what}: %DYNAMIC_METADATA({by}:{policy})%", chosen)


def _denials(inbound: bool, destination: str, policy: str) -> dict[str, Any]:
    labels = {"source": _CALLER, "destination": destination, "policy": policy}
    return _logger([_counter("denials", labels, {"value_fixed": 1})])


def _line(text: str, chosen: dict[str, Any] | None = None) -> dict[str, Any]:
    """A line in the proxy's own log."""
    format = {"text_format_source": {"inline_string": f"[%START_TIME%] {text}\n"}}
    stream = typed("envoy.extensions.access_loggers.stream.v3.StderrAccessLog", {"log_format": format})
    return {
        "name": "envoy.access_loggers.stderr",
        "typed_config": stream,
        **({"filter": chosen} if chosen else {}),
    }
