"""Counters of requests and connections, with few labels: their cost is metrics times labels.

The agent expands them to Istio's names and labels, which it knows from the snapshot.
Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/access_loggers/stats/v3/stats.proto
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.schema import typed
from meshlite.translate.plan.listener import Entrance

SCOPE = "meshlite"


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
