"""Clusters: discovery by EDS, load balancing, limits, outlier detection, and what is spoken to the endpoints.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from meshlite.translate.envoy import dns, tunnel
from meshlite.translate.envoy.guards import upstream_filters
from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.transport_socket import transport_socket, upstream_options
from meshlite.translate.envoy.values import ADS, duration, marked, only
from meshlite.translate.plan.cluster import (
    BLACK_HOLE,
    CONNECT_TIMEOUT,
    INBOUND_PASSTHROUGH,
    PASSTHROUGH,
    Cluster,
    Endpoint,
    EndpointSet,
    Http,
    InboundCluster,
    Keepalive,
    LoadBalancer,
    Outliers,
    Place,
    Policy,
    Pool,
    Warmup,
)
from meshlite.translate.plan.guard import NOTHING, Guard

UNIX = "unix://"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_SELECTOR = "envoy.extensions.local_address_selectors.filter_state_override.v3.Config"
_PASSTHROUGH_IDLE = "300s"
_POLICIES = {
    "least_request": "LEAST_REQUEST",
    "round_robin": "ROUND_ROBIN",
    "random": "RANDOM",
    "ring_hash": "RING_HASH",
    "maglev": "MAGLEV",
    "original": "CLUSTER_PROVIDED",
}


INBOUND = "meshlite.inbound"
"""Metadata of endpoints that are inbound chains, which are told what the caller's side knows."""

_CHAIN_SOCKET = {
    "name": INBOUND,
    "match": {INBOUND: True},
    "transport_socket": {
        "name": "envoy.transport_sockets.internal_upstream",
        "typed_config": typed(
            "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
            {
                "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"),
                }
            },
        ),
    },
}


def own(cluster: Cluster) -> dict[str, Any]:
    """What of a cluster is its own: `usage` is the rest."""
    istio = {"host": cluster.host, "name": cluster.service, "namespace": cluster.namespace}
    matches = [_CHAIN_SOCKET] if cluster.chained else []
    direct: dict[str, Any] = {}
    if cluster.tunnel is not None and cluster.tunnel.streams:
        matches.append(tunnel.streams(transport_socket(cluster.policy, cluster.http == "http2")))
    elif cluster.tunnel is not None:
        # What is not said to be in a tunnel must not be it by default; only its ALPN is looked at there.
        matches += [tunnel.requests(cluster.tunnel, cluster.mixed), tunnel.plain()]
        direct = {
            "transport_socket": tunnel.secured(cluster.tunnel, cluster.mixed),
            **tunnel.noticing(),
        }
    return {
        "name": cluster.name,
        **_discovery(cluster),
        "metadata": {"filter_metadata": {"istio": {"services": [istio]}}},
        **direct,
        **only(
            transport_socket_matches=matches,
            upstream_bind_config=_from_caller("0.0.0.0") if cluster.from_caller else None,
        ),
    }


def usage(http: Http, policy: Policy, mark: int, guard: Guard, mixed: bool = False) -> dict[str, Any]:
    """What of a cluster it has in common with all that are used alike."""
    panic = policy.outliers.panic_percent if policy.outliers is not None else 0
    return {
        "connect_timeout": duration(policy.pool.connect_timeout),
        "upstream_bind_config": {"socket_options": marked(mark)},
        "common_lb_config": {"healthy_panic_threshold": {"value": panic}}
        | ({"locality_weighted_lb_config": {}} if policy.balancer.weighted else {}),
        "circuit_breakers": {"thresholds": [_thresholds(policy.pool)]},
        **_balancer(policy.balancer),
        **only(
            outlier_detection=_outliers(policy.outliers) if policy.outliers is not None else None,
            transport_socket=transport_socket(policy, http == "http2"),
            upstream_connection_options=_keepalive(policy.pool.keepalive) if policy.pool.keepalive else None,
            typed_extension_protocol_options=_protocol_options(http, policy, guard, mixed),
        ),
    }


def inbound(cluster: InboundCluster) -> dict[str, Any]:
    """The app behind an inbound chain."""
    istio = {"host": cluster.host, "name": cluster.service, "namespace": cluster.namespace}
    bind: dict[str, Any] = {"socket_options": marked(cluster.mark)}
    if cluster.namespace_path:
        source = "::" if ":" in cluster.address else "0.0.0.0"
        path = {"network_namespace_filepath": cluster.namespace_path}
        bind["source_address"] = {"address": source, "port_value": 0, **path}
    address = {"address": cluster.address, "port_value": cluster.port}
    endpoint = {"endpoint": {"address": {"socket_address": address}}}
    pool = cluster.pool
    return {
        "name": cluster.name,
        "type": "STATIC",
        "connect_timeout": duration(pool.connect_timeout),
        "upstream_bind_config": bind,
        "circuit_breakers": {"thresholds": [_thresholds(pool)]},
        "metadata": {"filter_metadata": {"istio": {"services": [istio]}}},
        "load_assignment": {
            "cluster_name": cluster.name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        **only(
            upstream_connection_options=_keepalive(pool.keepalive) if pool.keepalive else None,
            typed_extension_protocol_options=_protocol_options(cluster.http, Policy(pool=pool)),
        ),
    }


def _discovery(cluster: Cluster) -> dict[str, Any]:
    match cluster.discovery:
        case "eds":
            return {"type": "EDS", "eds_cluster_config": {"eds_config": ADS}}
        case "strict_dns" | "logical_dns":
            names = cluster.names or EndpointSet(cluster.name, ())
            return dns.written(cluster.discovery == "logical_dns") | {"load_assignment": endpoints(names)}
        case "dynamic":
            return dns.asked_for(cluster.name)
        case _:
            override = {"upstream_port_override": cluster.override} if cluster.override else None
            return {"type": "ORIGINAL_DST", **only(original_dst_lb_config=override)}


def endpoints(set: EndpointSet) -> dict[str, Any]:
    """One group for each priority and place."""
    shares = dict(set.shares)
    groups = [
        {
            "lb_endpoints": [_endpoint(endpoint) for endpoint in group],
            **only(priority=priority, locality=_place(place), load_balancing_weight=shares.get(place, 0)),
        }
        for (priority, place), group in groupby(set.endpoints, key=lambda one: (one.priority, one.place))
    ]
    return {"cluster_name": set.cluster, **only(endpoints=groups)}


def _place(place: Place) -> dict[str, Any]:
    return only(region=place.region, zone=place.zone, sub_zone=place.subzone)


ORIGINAL = {PASSTHROUGH: "0.0.0.0", INBOUND_PASSTHROUGH: "127.0.0.6"}
"""Clusters to where the client dialled, with the address they dial from; inbound it is Istio's."""


def black_hole() -> dict[str, Any]:
    return {"name": BLACK_HOLE, "type": "STATIC", "connect_timeout": duration(CONNECT_TIMEOUT)}


def original(name: str, source: str, mark: int) -> dict[str, Any]:
    downstream: dict[str, Any] = {"http_protocol_options": {}, "http2_protocol_options": {}}
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": duration(CONNECT_TIMEOUT),
        "upstream_bind_config": {"socket_options": marked(mark), **_from_caller(source)},
        "circuit_breakers": {"thresholds": [_thresholds(Pool())]},
        "typed_extension_protocol_options": {
            _OPTIONS: typed(
                _OPTIONS,
                {
                    "use_downstream_protocol_config": downstream,
                    "common_http_protocol_options": {"idle_timeout": _PASSTHROUGH_IDLE},
                },
            )
        },
    }


def _from_caller(source: str) -> dict[str, Any]:
    """Dials from the namespace that the listener has put into the filter state.

    It must be a hashable one: else connections are pooled across namespaces, and one workload's requests
    leave from another's.
    """
    return {
        "source_address": {"address": source, "port_value": 0},
        "extra_source_addresses": [{"address": {"address": "::", "port_value": 0}}],
        "local_address_selector": {
            "name": "envoy.upstream.local_address_selector.filter_state_override",
            "typed_config": typed(_SELECTOR),
        },
    }


def _balancer(balancer: LoadBalancer) -> dict[str, Any]:
    fields: dict[str, Any] = {"lb_policy": _POLICIES[balancer.kind]}
    if balancer.warmup is not None:
        fields[f"{balancer.kind}_lb_config"] = {"slow_start_config": _warmup(balancer.warmup)}
    if balancer.size:
        size = "minimum_ring_size" if balancer.kind == "ring_hash" else "table_size"
        fields[f"{balancer.kind}_lb_config"] = {size: balancer.size}
    return fields


def _warmup(warmup: Warmup) -> dict[str, Any]:
    return {
        "slow_start_window": duration(warmup.window),
        "aggression": {"default_value": warmup.aggression, "runtime_key": "meshlite.warmup.aggression"},
        "min_weight_percent": {"value": warmup.minimum_percent},
    }


def _thresholds(pool: Pool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "max_connections": pool.connections,
        "max_pending_requests": pool.pending,
        "max_requests": pool.requests,
        "max_retries": pool.retries,
    }
    if pool.retry_budget is not None:
        budget = pool.retry_budget
        fields["retry_budget"] = {
            "budget_percent": {"value": budget.percent},
            "min_retry_concurrency": budget.minimum,
        } | only(budget_interval=duration(budget.interval) if budget.interval is not None else None)
    return fields


def _outliers(outliers: Outliers) -> dict[str, Any]:
    """As Istio: judged by counts alone, never by success rates; a count of 0 enforces nothing."""
    fields: dict[str, Any] = {"enforcing_success_rate": 0}
    if outliers.errors is not None:
        fields |= {
            "consecutive_5xx": outliers.errors,
            "enforcing_consecutive_5xx": _enforced(outliers.errors),
        }
    if outliers.gateway_errors is not None:
        enforced = _enforced(outliers.gateway_errors)
        fields["consecutive_gateway_failure"] = outliers.gateway_errors
        fields["enforcing_consecutive_gateway_failure"] = enforced
    if outliers.split_local:
        fields |= {"split_external_local_origin_errors": True, "enforcing_local_origin_success_rate": 0}
        if outliers.local_errors:
            fields["consecutive_local_origin_failure"] = outliers.local_errors
            fields["enforcing_consecutive_local_origin_failure"] = 100
    return fields | only(
        interval=duration(outliers.interval) if outliers.interval is not None else None,
        base_ejection_time=duration(outliers.ejection) if outliers.ejection is not None else None,
        max_ejection_percent=outliers.maximum_percent,
    )


def _enforced(count: int) -> int:
    return 100 if count else 0


def _keepalive(keepalive: Keepalive) -> dict[str, Any]:
    """Whole seconds, as sockets count them; 0 leaves it to the system."""
    fields = only(
        keepalive_probes=keepalive.probes,
        keepalive_time=int(keepalive.idle.total_seconds()) if keepalive.idle else 0,
        keepalive_interval=int(keepalive.interval.total_seconds()) if keepalive.interval else 0,
    )
    return {"tcp_keepalive": fields}


def _protocol_options(
    http: Http, policy: Policy, guard: Guard = NOTHING, mixed: bool = False
) -> dict[str, Any]:
    """Nothing for plain HTTP/1.1, which is what Envoy speaks unless told otherwise."""
    if http == "none":
        return {}
    pool = policy.pool
    common = only(
        idle_timeout=duration(pool.http_idle) if pool.http_idle is not None else None,
        max_connection_duration=duration(pool.lifetime) if pool.lifetime is not None else None,
        max_requests_per_connection=pool.requests_per_connection,
    )
    tls = policy.tls
    codes = policy.outliers.codes if policy.outliers is not None else ()
    fields = only(
        common_http_protocol_options=common,
        outlier_detection={"error_matcher": _error_matcher(codes)} if codes else None,
        upstream_http_protocol_options=upstream_options(tls) if tls is not None else None,
        http_filters=upstream_filters(guard) if not guard.rules.empty else None,
    )
    if http == "http1" and not fields and not mixed:
        return {}
    return {_OPTIONS: typed(_OPTIONS, _codec(http, pool, mixed) | fields)}


def _codec(http: Http, pool: Pool, mixed: bool) -> dict[str, Any]:
    http2 = only(max_concurrent_streams=pool.streams)
    if pool.ping_interval is not None and pool.ping_timeout is not None:
        http2["connection_keepalive"] = {
            "interval": duration(pool.ping_interval),
            "timeout": duration(pool.ping_timeout),
        }
    if http == "client":
        return {
            "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": http2}
        }
    if mixed:
        return {"auto_config": {"http_protocol_options": {}, "http2_protocol_options": http2}}
    explicit = {"http2_protocol_options": http2} if http == "http2" else {"http_protocol_options": {}}
    return {"explicit_http_config": explicit}


def _error_matcher(codes: tuple[int, ...]) -> dict[str, Any]:
    rules = [
        {
            "http_response_headers_match": {
                "headers": [{"name": ":status", "string_match": {"exact": str(code)}}]
            }
        }
        for code in codes
    ]
    return rules[0] if len(rules) == 1 else {"or_match": {"rules": rules}}


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    istio = {"workload": endpoint.workload} | only(version=endpoint.version)
    metadata: dict[str, Any] = {"istio": istio}
    if endpoint.tunnel is not None:
        metadata |= tunnel.metadata(endpoint)
    if endpoint.chain:
        metadata["envoy.transport_socket_match"] = {INBOUND: True}
    return {
        "endpoint": {"address": _address(endpoint)},
        "metadata": {"filter_metadata": metadata},
        **only(load_balancing_weight=endpoint.weight),
    }


def _address(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.chain:
        name = f"{endpoint.address}:{endpoint.port}"
        return {"envoy_internal_address": {"server_listener_name": endpoint.chain, "endpoint_id": name}}
    if endpoint.tunnel is not None and endpoint.tunnel.streams:
        return tunnel.entry(endpoint)
    if endpoint.address.startswith(UNIX):
        return {"pipe": {"path": endpoint.address.removeprefix(UNIX)}}
    return {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}
