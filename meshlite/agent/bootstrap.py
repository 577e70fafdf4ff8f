"""Envoy's start-up configuration: its admin, its agent, and what it counts. All else comes by ADS."""

from __future__ import annotations

import json
from typing import Any

from meshlite.config import Settings

_AGENT = "meshlite_agent"

FIRST_FETCH = "3s"
"""How long Envoy waits for each kind of resource at start while the agent is away."""

MAX_CONNECTIONS = 50_000
"""Downstream connections of all workloads of the node; more are refused rather than run out of files."""

_COUNTED_SUFFIXES = (
    ".upstream_rq_total",
    ".upstream_rq_1xx",
    ".upstream_rq_2xx",
    ".upstream_rq_3xx",
    ".upstream_rq_4xx",
    ".upstream_rq_5xx",
    ".upstream_rq_time",
    ".upstream_rq_active",
    ".upstream_rq_retry",
    ".upstream_rq_retry_success",
    ".upstream_rq_retry_overflow",
    ".upstream_rq_timeout",
    ".upstream_rq_pending_overflow",
    ".upstream_cx_total",
    ".upstream_cx_active",
    ".upstream_cx_connect_fail",
    ".upstream_cx_overflow",
    ".upstream_cx_rx_bytes_total",
    ".upstream_cx_tx_bytes_total",
    ".membership_healthy",
    ".membership_total",
    ".ejections_active",
    ".downstream_cx_total",
    ".downstream_cx_active",
    ".downstream_cx_rx_bytes_total",
    ".downstream_cx_tx_bytes_total",
    ".downstream_rq_total",
    ".downstream_rq_active",
    ".no_filter_chain_match",
    ".ssl.handshake",
    ".ssl.connection_error",
)
_COUNTED_PREFIXES = (
    "meshlite.",
    "server.",
    "listener_manager.",
    "cluster_manager.",
    "control_plane.",
    "overload.",
)
_COUNTED_PARTS = ("istio_", "rbac.")


_CLUSTER_NAME = {
    "tag_name": "envoy.cluster_name",
    "regex": r"^cluster\.((.+?(\..+?\.svc\.cluster\.local(\|[^.]*)?)?)\.)",
}
"""Envoy's own rule ends a cluster's name at its first dot; ours are services' full names."""

_INTERNAL = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"

_DEFAULT_TAGS = (
    "envoy.response_code",
    "envoy.response_code_class",
    "envoy.http_conn_manager_prefix",
    "envoy.tcp_prefix",
    "envoy.listener_address",
    "envoy.worker_id",
)


def bootstrap(settings: Settings) -> dict[str, Any]:
    """The node proxy's `envoy.config.bootstrap.v3.Bootstrap` as a dict. Equal settings give equal dicts."""
    source = {
        "ads": {},
        "resource_api_version": "V3",
        "initial_fetch_timeout": FIRST_FETCH,
    }
    return {
        "node": {"id": settings.node, "cluster": "meshlite"},
        "admin": {"address": {"pipe": {"path": str(settings.paths.proxy_admin_socket), "mode": 0o600}}},
        "dynamic_resources": {"ads_config": _ads(), "cds_config": source, "lds_config": source},
        "static_resources": {"clusters": [_agent_cluster(str(settings.paths.xds_socket))]},
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": _counted()}},
            # A tag of Envoy's set cannot be given another rule, so the set is spelt out.
            "use_all_default_tags": False,
            "stats_tags": [_CLUSTER_NAME, *({"tag_name": name} for name in _DEFAULT_TAGS)],
        },
        # Inbound chains are listeners that only this Envoy itself comes in by.
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {"@type": f"type.googleapis.com/{_INTERNAL}"},
            }
        ],
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        # Nothing but the agent's scrape reads the statistics: no timer needs to collect them.
        "stats_flush_on_admin": True,
        "watchdogs": {"main_thread_watchdog": _WATCHDOG, "worker_watchdog": _WATCHDOG},
        "memory_allocator_manager": _GIVEN_BACK,
        "overload_manager": _overload_manager(),
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _RUNTIME}]},
    }


def text(settings: Settings) -> str:
    """`bootstrap` as JSON: Envoy's YAML reader takes some plain words for booleans."""
    return json.dumps(bootstrap(settings), indent=1, sort_keys=True)


_WATCHDOG = {"miss_timeout": "5s", "megamiss_timeout": "10s"}
"""Envoy counts threads that hang for so long. Every thread wakes up twice in the shorter time to say that it
does not: with Envoy's own 0.2 s that is most of what it does while nothing happens."""

_GIVEN_BACK = {"bytes_to_release": 32 * 1024 * 1024, "memory_release_interval": "5s"}
"""Free memory that goes back to the host each time. While many containers start, Envoy keeps each listener in
several versions; without this what that took would stay with it."""

_RUNTIME = {
    "re2": {"max_program_size": {"error_level": 32768}},
    # Replicas on this host are dialled in plain HTTP/1.1, those of others by tunnels that carry HTTP/2: which
    # one it is each connection says by its ALPN, and one without TLS says nothing, which means HTTP/1.1.
    "config": {"do_not_validate_alpn_support": 100},
}


def _ads() -> dict[str, Any]:
    # Without a back-off of its own, Envoy may wait up to 30 s before it asks a returned agent.
    back_off = {"base_interval": "0.1s", "max_interval": "1s"}
    return {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [
            {"envoy_grpc": {"cluster_name": _AGENT, "retry_policy": {"retry_back_off": back_off}}}
        ],
    }


def _agent_cluster(socket: str) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": socket}}}}
    return {
        "name": _AGENT,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": _AGENT, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def _counted() -> list[dict[str, str]]:
    """Most of Envoy's statistics are never looked at, and each costs memory per cluster and per worker."""
    return [
        *({"suffix": suffix} for suffix in _COUNTED_SUFFIXES),
        *({"prefix": prefix} for prefix in _COUNTED_PREFIXES),
        *({"contains": part} for part in _COUNTED_PARTS),
    ]


def _overload_manager() -> dict[str, Any]:
    monitor = "envoy.resource_monitors.global_downstream_max_connections"
    config = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "refresh_interval": "5s",
        "resource_monitors": [
            {
                "name": monitor,
                "typed_config": {
                    "@type": f"type.googleapis.com/{config}",
                    "max_active_downstream_connections": MAX_CONNECTIONS,
                },
            }
        ],
    }
