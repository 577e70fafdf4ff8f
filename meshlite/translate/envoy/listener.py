"""Listeners in network namespaces, and the filter chains behind them.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener.proto
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy import dns
from meshlite.translate.envoy.extension import network_extensions
from meshlite.translate.envoy.filters import HTTP_FILTERS
from meshlite.translate.envoy.guards import connection_filters, request_filters
from meshlite.translate.envoy.rate_limit import limited
from meshlite.translate.envoy.rbac import PRINCIPAL, SOURCE_ADDRESS, SOURCE_TEXT
from meshlite.translate.envoy.route import DESTINATION
from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.telemetry import (
    connection_log,
    denied_connections,
    denied_requests,
    notable,
    noted_connections,
    noted_requests,
    request_log,
)
from meshlite.translate.envoy.tunnel import CERTIFICATE
from meshlite.translate.envoy.values import ADS, duration, only
from meshlite.translate.plan.cluster import Tunnelling
from meshlite.translate.plan.listener import Entrance, HttpChain, TcpChain

_NAMESPACE = "envoy.network.upstream_bind_override.network_namespace"
_POOL = "meshlite.pool"
_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_DETECTION_TIMEOUT = "0.100s"
_CLOSE_DELAY = "0.100s"
"""How long a connection that we end waits for its client to end it too; clients are on this host. Who waits
for our end first, as WebSocket clients do, waits as long."""
_CONNECT_ATTEMPTS = 3
EARLY_BYTES = 65536
HTTP_10 = {"accept_http_10": True, "default_host_for_http_10": "no-host.invalid"}
"""Unlike in Istio it is taken: nginx speaks it to the servers behind it unless told otherwise. A request
without a Host, as some health checks are, goes where it was sent to: no service has that name (RFC 2606)."""
NORMALIZED: dict[str, dict[str, Any]] = {
    "NONE": {"normalize_path": False, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
    "BASE": {"normalize_path": True, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
    "MERGE_SLASHES": {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
    },
    "DECODE_AND_MERGE_SLASHES": {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    },
}


def head(entrance: Entrance) -> dict[str, Any]:
    """A listener without its chains and their chooser, which may change without draining any connection."""
    return {
        "name": entrance.name,
        **_where(entrance),
        "stat_prefix": _direction(entrance),
        "traffic_direction": _direction(entrance).upper(),
        "listener_filters": _listener_filters(entrance),
        "listener_filters_timeout": _DETECTION_TIMEOUT,
        "continue_on_listener_filters_timeout": True,
        **only(access_log=connection_log(entrance) if entrance.addresses else None),
    }


def _where(entrance: Entrance) -> dict[str, Any]:
    """A door has no address. What comes in by it is counted already, on the caller's side."""
    return addresses(entrance) if entrance.addresses else {"internal_listener": {}}


def addresses(entrance: Entrance) -> dict[str, Any]:
    """Where it listens; without a namespace's path, in the host's own."""
    first, *more = (_address(entrance, address) for address in entrance.addresses)
    return {"address": first, **only(additional_addresses=[{"address": address} for address in more])}


def http_chain(entrance: Entrance, chain: HttpChain) -> dict[str, Any]:
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": _manager(entrance, chain),
    }
    return {"name": chain.name, "filters": [*network_extensions(chain.extensions), manager]}


def tcp_chain(inbound: bool, chain: TcpChain) -> dict[str, Any]:
    """The same for all listeners of a direction, so it is made once."""
    proxy = {
        "stat_prefix": "inbound" if inbound else "outbound",
        "max_connect_attempts": _CONNECT_ATTEMPTS,
        **_clusters(chain),
        **only(
            hash_policy=[{"source_ip": {}}] if chain.hash_address else None,
            tunneling_config=_tunnel(chain.tunnel) if chain.tunnel is not None else None,
        ),
    }
    if chain.idle is not None:
        proxy["idle_timeout"] = duration(chain.idle)
    if chain.lifetime is not None:
        proxy["max_downstream_connection_duration"] = duration(chain.lifetime)
    if chain.guard.asking:
        # A server that speaks first would else be heard before the provider has answered.
        proxy |= {"upstream_connect_mode": "ON_DOWNSTREAM_DATA", "max_early_data_bytes": EARLY_BYTES}
    if chain.denied is not None:
        proxy["access_log"] = denied_connections(inbound, chain.denied)
    elif notable(chain.guard):
        proxy["access_log"] = noted_connections(inbound)
    filter = {"name": "envoy.filters.network.tcp_proxy", "typed_config": typed(_TCP_PROXY, proxy)}
    named = dns.waiting(chain.cluster, chain.named_port) if chain.named_port else []
    return {
        "name": chain.name,
        "filters": [*connection_filters(chain.guard), *network_extensions(chain.extensions), *named, filter],
    }


def _clusters(chain: TcpChain) -> dict[str, Any]:
    if not chain.shares:
        return {"cluster": chain.cluster}
    shares = [{"name": name, "weight": weight} for name, weight in chain.shares]
    return {"weighted_clusters": {"clusters": shares}}


def _tunnel(tunnel: Tunnelling) -> dict[str, Any]:
    host = f"[{tunnel.host}]" if ":" in tunnel.host else tunnel.host
    return {"hostname": f"{host}:{tunnel.port}"} | only(use_post=tunnel.post)


def _direction(entrance: Entrance) -> str:
    return "inbound" if entrance.inbound else "outbound"


def _address(entrance: Entrance, address: str) -> dict[str, Any]:
    path = entrance.source.namespace_path
    fields = {"address": address, "port_value": entrance.port, **only(network_namespace_filepath=path)}
    return {"socket_address": fields}


def _listener_filters(entrance: Entrance) -> list[dict[str, Any]]:
    """In this order: where to, who, and only then what is spoken. A door knows the first two."""
    base = "envoy.extensions.filters.listener"
    quiet = _ports(entrance.silent_ports)
    http = {
        "name": "envoy.filters.listener.http_inspector",
        "typed_config": typed(f"{base}.http_inspector.v3.HttpInspector"),
        **quiet,
    }
    if not entrance.addresses:
        return [] if entrance.silent_ports else [http]
    original = {
        "name": "envoy.filters.listener.original_dst",
        "typed_config": typed(f"{base}.original_dst.v3.OriginalDst"),
    }
    return [
        *([original] if entrance.redirected else []),
        {
            "name": "envoy.filters.listener.set_filter_state",
            "typed_config": typed(
                f"{base}.set_filter_state.v3.Config", {"on_accept": _filter_state(entrance)}
            ),
        },
        {
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": typed(f"{base}.tls_inspector.v3.TlsInspector"),
            **quiet,
        },
        http,
    ]


def _filter_state(entrance: Entrance) -> list[dict[str, Any]]:
    """What a connection's own listener knows: what was dialled, from where, and by whom."""
    path = entrance.source.namespace_path
    destination = _value(DESTINATION, "envoy.string", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%")
    return [destination, *shared(entrance, _value(_NAMESPACE, "envoy.string", path))]


_SHARED = {_POOL: "TRANSITIVE", CERTIFICATE: "TRANSITIVE"}
"""What also holds behind the listener that bytes pass which leave by a tunnel."""


def shared(entrance: Entrance, *values: dict[str, Any]) -> list[dict[str, Any]]:
    """Filter state that upstream connections have too: these values, the caller's address and identity.

    So an inbound chain knows who calls. Only equals may share a connection, which Envoy tells by hashes in an
    order that differs from connection to connection: so one value alone is hashable, and says all of it.
    Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/data_sharing_between_filters
    """
    address = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
    told = [
        *values,
        _value(SOURCE_ADDRESS, "envoy.network.ip", address),
        _value(SOURCE_TEXT, "envoy.string", address),
    ]
    if entrance.source.identity:
        told.append(_value(PRINCIPAL, "envoy.string", entrance.source.identity))
    texts = dict.fromkeys(one["format_string"]["text_format_source"]["inline_string"] for one in told)
    told.append(_value(_POOL, "envoy.hashable_string", " ".join(texts)))
    if not entrance.source.certificate:
        return [one | {"shared_with_upstream": "ONCE"} for one in told]
    told.append(_value(CERTIFICATE, "envoy.string", entrance.source.certificate))
    return [one | {"shared_with_upstream": _SHARED.get(one["object_key"], "ONCE")} for one in told]


def _value(key: str, factory: str, text: str) -> dict[str, Any]:
    source = {"text_format_source": {"inline_string": text}}
    return {"object_key": key, "factory_key": factory, "format_string": source}


def _ports(ports: tuple[int, ...]) -> dict[str, Any]:
    """The predicate that switches a listener filter off; `end` is not in the range."""
    starts = [port for port in ports if port - 1 not in ports]
    ends = [port + 1 for port in ports if port + 1 not in ports]
    rules = [
        {"destination_port_range": {"start": start, "end": end}}
        for start, end in zip(starts, ends, strict=True)
    ]
    if not rules:
        return {}
    return {"filter_disabled": rules[0] if len(rules) == 1 else {"or_match": {"rules": rules}}}


def _manager(entrance: Entrance, chain: HttpChain) -> dict[str, Any]:
    """Istio's settings, without what costs on each request and nobody has asked for."""
    routes: dict[str, Any] = {"rds": {"config_source": ADS, "route_config_name": chain.table}}
    if chain.cluster:
        action = {"cluster": chain.cluster, "timeout": "0s"}
        match_all = {"match": {"prefix": "/"}, "route": action, "name": "default"}
        port = f"|{chain.port}" if chain.port else ""
        host = {"name": f"inbound|http{port}", "domains": ["*"], "routes": [match_all]}
        name = chain.cluster if chain.port else "inbound"
        routes = {"route_config": {"name": name, "virtual_hosts": [host], "validate_clusters": False}}
    return typed(
        _MANAGER,
        {
            "stat_prefix": _direction(entrance),
            **routes,
            "http_filters": [
                *request_filters(chain.guard, chain.extensions),
                *limited(chain),
                *HTTP_FILTERS,
            ],
            "access_log": [
                *(request_log(entrance) if entrance.addresses else ()),
                *denied_requests(entrance),
                *(noted_requests(entrance) if notable(chain.guard) else ()),
            ],
            "http_protocol_options": HTTP_10,
            "delayed_close_timeout": _CLOSE_DELAY,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "server_header_transformation": "PASS_THROUGH",
            "generate_request_id": False,
            **NORMALIZED[entrance.normalization],
            "proxy_100_continue": True,
            "stream_idle_timeout": "0s",
            "use_remote_address": entrance.inbound and bool(entrance.addresses),
        },
    )
