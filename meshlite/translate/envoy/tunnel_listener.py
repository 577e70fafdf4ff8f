"""The called end of tunnels: one port of the node, where every caller shows a certificate of the mesh.

The server name chooses the chain; the identity in the caller's certificate becomes the filter state that
policies look at, as for callers of the same host. Source:
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/upgrades
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.filters import HTTP_FILTERS
from meshlite.translate.envoy.listener import NORMALIZED, shared
from meshlite.translate.envoy.rbac import HTTP_RBAC, checks
from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.telemetry import denied_requests
from meshlite.translate.envoy.tunnel import TLS, validation, workloads_of
from meshlite.translate.envoy.values import SECRETS, only
from meshlite.translate.plan.guard import Guard
from meshlite.translate.plan.listener import Entrance, Source
from meshlite.translate.plan.tunnel import Tunnel, Way

IN = "tunnel"

_BASE = "envoy.extensions.filters"
_FIRST_BYTES = "10s"
_TRIES = {"retry_on": "connect-failure", "num_retries": 2}
"""A replica that cannot be dialled has not got the request."""

_DENY, _ALLOW = f"{HTTP_RBAC}.deny", f"{HTTP_RBAC}.allow"
_RBAC = f"{_BASE}.http.rbac.v3"


def listener(tunnel: Tunnel) -> dict[str, Any]:
    first, *more = (
        {"socket_address": {"address": address, "port_value": tunnel.port}} for address in tunnel.addresses
    )
    inspector = typed(f"{_BASE}.listener.tls_inspector.v3.TlsInspector")
    return {
        "name": IN,
        "address": first,
        **only(additional_addresses=[{"address": address} for address in more]),
        "stat_prefix": IN,
        "traffic_direction": "INBOUND",
        "listener_filters": [
            {"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector},
        ],
        "listener_filters_timeout": _FIRST_BYTES,
        "filter_chains": [_chain(tunnel, way) for way in tunnel.ways],
        # A listener needs a chain, also while nothing is called here.
        **only(default_filter_chain=_closed() if not tunnel.ways else None),
    }


def _closed() -> dict[str, Any]:
    name = "envoy.filters.network.direct_response"
    return {
        "name": "closed",
        "filters": [{"name": name, "typed_config": typed(f"{_BASE}.network.direct_response.v3.Config")}],
    }


def _chain(tunnel: Tunnel, way: Way) -> dict[str, Any]:
    told = shared(_entrance(tunnel, way))
    state = typed(f"{_BASE}.network.set_filter_state.v3.Config", {"on_downstream_tls_handshake": told})
    return {
        "name": way.server,
        "filter_chain_match": {"server_names": [way.server], "transport_protocol": "tls"},
        "transport_socket": _secured(tunnel, way),
        "filters": [
            {"name": "envoy.filters.network.set_filter_state", "typed_config": state},
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": _manager(tunnel, way)},
        ],
    }


def _entrance(tunnel: Tunnel, way: Way) -> Entrance:
    """Who calls is what the certificate says."""
    source = Source("%DOWNSTREAM_PEER_URI_SAN%", "", "")
    return Entrance(way.server, True, (), tunnel.port, source, (), way.destination)


def _secured(tunnel: Tunnel, way: Way) -> dict[str, Any]:
    """Sessions are not resumed: each connection shows its certificate anew."""
    common = {
        "tls_params": TLS,
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [{"name": way.certificate, "sds_config": SECRETS}],
        "combined_validation_context": validation(workloads_of(tunnel.trust_domains)),
    }
    fields = {
        "require_client_certificate": True,
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
        "common_tls_context": common,
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", fields),
    }


def _manager(tunnel: Tunnel, way: Way) -> dict[str, Any]:
    routes = [_bytes(way), *([_requests(way)] if way.requests else [])]
    host = {"name": way.destination, "domains": ["*"], "routes": routes}
    judging = [
        {"name": name, "disabled": True, "typed_config": typed(f"{_RBAC}.RBAC")} for name in (_DENY, _ALLOW)
    ]
    return typed(
        f"{_BASE}.network.http_connection_manager.v3.HttpConnectionManager",
        {
            "stat_prefix": IN,
            "route_config": {"name": way.server, "virtual_hosts": [host], "validate_clusters": False},
            "http_filters": [*judging, *HTTP_FILTERS],
            "access_log": denied_requests(_entrance(tunnel, way)),
            "http2_protocol_options": {"allow_connect": True},
            "http_protocol_options": {"accept_http_10": True},
            "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
            "server_header_transformation": "PASS_THROUGH",
            "generate_request_id": False,
            **NORMALIZED[tunnel.normalization],
            "proxy_100_continue": True,
            "stream_idle_timeout": "0s",
        },
    )


def _bytes(way: Way) -> dict[str, Any]:
    """Connections, which are judged before the replica is dialled: no server is heard too early."""
    made = checks(Guard(way.rules))
    names = ([_DENY] if way.rules.deny else []) + ([_ALLOW] if way.rules.allow is not None else [])
    judged = {
        name: typed(f"{_RBAC}.RBACPerRoute", {"rbac": _rules(filter)})
        for name, filter in zip(names, made, strict=True)
    }
    upgrade = {"upgrade_type": "CONNECT", "connect_config": {}}
    return {
        "name": "bytes",
        "match": {"connect_matcher": {}},
        "route": {
            "cluster": way.cluster,
            "timeout": "0s",
            "idle_timeout": "0s",
            "upgrade_configs": [upgrade],
        },
        **only(typed_per_filter_config=judged),
    }


def _rules(filter: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in filter["typed_config"].items() if key != "@type"}


def _requests(way: Way) -> dict[str, Any]:
    route = {"cluster": way.cluster, "timeout": "0s", "idle_timeout": "0s", "retry_policy": _TRIES}
    return {"name": "requests", "match": {"prefix": "/"}, "route": route}
