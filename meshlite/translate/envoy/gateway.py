"""A gateway's listeners: filter chains by server name, TLS that ends here, HTTP as it comes from outside.

Sources: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto and
https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge
"""

from __future__ import annotations

import ipaddress
from typing import Any

from meshlite.translate.envoy.extension import network_extensions
from meshlite.translate.envoy.filters import HTTP_FILTERS
from meshlite.translate.envoy.guards import connection_filters, request_filters
from meshlite.translate.envoy.listener import EARLY_BYTES, HTTP_10, NORMALIZED, addresses, shared
from meshlite.translate.envoy.rbac import checks
from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.telemetry import (
    connection_log,
    denied_requests,
    notable,
    noted_requests,
    request_log,
)
from meshlite.translate.envoy.values import ADS, SECRETS, duration, only
from meshlite.translate.plan.gateway_listener import GatewayChain, GatewayListener, ServerTls
from meshlite.translate.plan.guard import Guard

_LISTENER_FILTERS = "envoy.extensions.filters.listener"
_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
_GRPC_WEB = {
    "name": "envoy.filters.http.grpc_web",
    "typed_config": typed("envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"),
}

_HANDSHAKE = "15s"
_FIRST_BYTES = "5s"


def listener(one: GatewayListener) -> dict[str, Any]:
    """A whole listener. Its name is that of Istio's gateways: address and port."""
    entrance = one.entrance
    return {
        "name": entrance.name,
        **addresses(entrance),
        "stat_prefix": "gateway",
        "traffic_direction": "OUTBOUND",
        "listener_filters": list(_listener_filters(one)),
        "listener_filters_timeout": _FIRST_BYTES,
        "filter_chains": [_chain(one, chain) for chain in one.chains],
        "access_log": connection_log(entrance),
    }


def _listener_filters(one: GatewayListener) -> list[dict[str, Any]]:
    """Whose connection it really is, who we are to the mesh, and which name a TLS client asks for."""
    state = typed(
        f"{_LISTENER_FILTERS}.set_filter_state.v3.Config",
        {"on_accept": shared(one.entrance)},
    )
    filters = [{"name": "envoy.filters.listener.set_filter_state", "typed_config": state}]
    if one.proxy_protocol:
        proxied = typed(f"{_LISTENER_FILTERS}.proxy_protocol.v3.ProxyProtocol")
        filters.insert(0, {"name": "envoy.filters.listener.proxy_protocol", "typed_config": proxied})
    if any(chain.encrypted for chain in one.chains):
        inspector = typed(f"{_LISTENER_FILTERS}.tls_inspector.v3.TlsInspector")
        filters.append({"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector})
    return filters


def _chain(one: GatewayListener, chain: GatewayChain) -> dict[str, Any]:
    network = network_extensions(one.extensions)
    filters = [*network, _manager(one, chain)] if chain.table else _tcp_filters(one, chain, network)
    fields = only(
        filter_chain_match=only(
            server_names=list(chain.server_names),
            transport_protocol="tls" if chain.encrypted else "",
            prefix_ranges=[_range(subnet) for subnet in chain.subnets],
        )
    )
    if chain.tls is not None:
        fields["transport_socket"] = _transport_socket(chain.tls, http=bool(chain.table))
        fields["transport_socket_connect_timeout"] = _HANDSHAKE
    return {"name": chain.name, **fields, "filters": filters}


def _range(subnet: str) -> dict[str, Any]:
    network = ipaddress.ip_network(subnet, strict=False)
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}


def _manager(one: GatewayListener, chain: GatewayChain) -> dict[str, Any]:
    """As Istio's gateways: clients are strangers, whose claims about themselves are replaced."""
    filters = [*request_filters(one.guard, one.extensions, routed=True), *HTTP_FILTERS]
    if chain.grpc_web:
        filters.insert(0, _GRPC_WEB)
    fields = {
        "stat_prefix": "gateway",
        "rds": {"config_source": ADS, "route_config_name": chain.table},
        "http_filters": filters,
        "access_log": [
            *request_log(one.entrance),
            *denied_requests(one.entrance),
            *(noted_requests(one.entrance) if notable(one.guard) else ()),
        ],
        "http_protocol_options": HTTP_10,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "server_name": "istio-envoy",
        **NORMALIZED[one.entrance.normalization],
        "proxy_100_continue": True,
        "stream_idle_timeout": "0s",
        "use_remote_address": True,
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"subject": True, "cert": True, "dns": True, "uri": True},
        **only(xff_num_trusted_hops=one.trusted_proxies),
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": typed(_MANAGER, fields)}


def _tcp_filters(
    one: GatewayListener, chain: GatewayChain, network: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """A guard decides when the client's first bytes come; until then nobody behind it is spoken to."""
    guard = one.guard.of_connections()
    if guard.empty and not chain.targets:
        return [*network, _tcp_proxy(chain, {})]
    toward = [check for rules in chain.targets for check in checks(Guard(rules), "network")]
    held = {"upstream_connect_mode": "ON_DOWNSTREAM_DATA", "max_early_data_bytes": EARLY_BYTES}
    judging = [*connection_filters(guard), *checks(guard, "network"), *toward]
    return [*judging, *network, _tcp_proxy(chain, held)]


def _tcp_proxy(chain: GatewayChain, more: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "stat_prefix": "gateway",
        "max_connect_attempts": 3,
        **more,
        **only(hash_policy=[{"source_ip": {}}] if chain.hash_address else None),
    }
    if len(chain.shares) == 1:
        fields["cluster"] = chain.shares[0][0]
    else:
        clusters = [{"name": name, "weight": weight} for name, weight in chain.shares]
        fields["weighted_clusters"] = {"clusters": clusters}
    if chain.idle is not None:
        fields["idle_timeout"] = duration(chain.idle)
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": typed(_TCP_PROXY, fields)}


def _transport_socket(tls: ServerTls, http: bool) -> dict[str, Any]:
    common = only(
        tls_certificate_sds_secret_configs=[_secret(name) for name in tls.certificates],
        tls_params=only(
            tls_minimum_protocol_version=tls.minimum,
            tls_maximum_protocol_version=tls.maximum,
            cipher_suites=list(tls.ciphers),
            ecdh_curves=list(tls.curves),
        ),
        alpn_protocols=["h2", "http/1.1"] if http else None,
        combined_validation_context=_clients(tls) if tls.roots else None,
    )
    context = {"common_tls_context": common, "require_client_certificate": tls.clients == "required"}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed(_TLS, context)}


def _clients(tls: ServerTls) -> dict[str, Any]:
    """A client's name may stand in its certificate as a DNS name, a URI, an address or a mailbox."""
    names = [
        {"san_type": kind, "matcher": {"exact": name}}
        for name in tls.names
        for kind in ("DNS", "URI", "IP_ADDRESS", "EMAIL")
    ]
    default = only(
        match_typed_subject_alt_names=names,
        verify_certificate_spki=list(tls.keys),
        verify_certificate_hash=list(tls.hashes),
        trust_chain_verification="ACCEPT_UNTRUSTED" if tls.untrusted else "",
    )
    return {
        "default_validation_context": default,
        "validation_context_sds_secret_config": _secret(tls.roots),
    }


def _secret(name: str) -> dict[str, Any]:
    return {"name": name, "sds_config": SECRETS}
