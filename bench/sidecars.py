"""Two stock Envoys beside client and server, as Istio sets its sidecars up: what meshlite is compared with.

Mutual TLS between them, RBAC at the server, redirection by nftables in both namespaces, the original
destination inbound, a virtual listener outbound. Less than Istio's in one thing: no telemetry filter at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.compose import HTTP, TCP

UID = 1337
"""The user of both Envoys; what they send is not redirected."""

OUTBOUND, INBOUND = 15001, 15006
CLIENT_IDENTITY = "spiffe://cluster.local/ns/bench/sa/client"
SERVER_IDENTITY = "spiffe://cluster.local/ns/bench/sa/server"

_TYPES = "type.googleapis.com/envoy"
_FILTERS = f"{_TYPES}.extensions.filters"
_NO_LIMIT = 2**32 - 1

Config = dict[str, Any]


def rules(inbound: bool) -> str:
    """nftables of a namespace, in the shape of Istio's init container."""
    redirect = "tcp flags & (fin | syn | rst | ack) == syn"
    prerouting = f"""
  chain prerouting {{
    type nat hook prerouting priority -100;
    iif lo return
    {redirect} redirect to :{INBOUND}
  }}"""
    return f"""table inet bench {{
  chain output {{
    type nat hook output priority -100;
    meta skuid {UID} return
    oif lo return
    {redirect} redirect to :{OUTBOUND}
  }}{prerouting if inbound else ""}
}}
"""


def client(server: str, folder: Path) -> Config:
    """The sidecar of the caller: routes by host, balances, opens mutual TLS to `server`, an address."""
    manager = _manager("outbound", _outbound_routes(server), [_router()])
    listeners = [
        {
            "name": "virtualOutbound",
            "address": _address("0.0.0.0", OUTBOUND),
            "use_original_dst": True,
            "filter_chains": [{"filters": [_tcp("PassthroughCluster")]}],
        },
        _handed_to(f"0.0.0.0_{HTTP}", "0.0.0.0", HTTP, manager),
        _handed_to(f"{server}_{TCP}", server, TCP, _tcp(_outbound_name(TCP))),
    ]
    passthrough = _original("PassthroughCluster")
    clusters = [_outbound(port, server, folder) for port in (HTTP, TCP)]
    return _bootstrap(listeners, [*clusters, passthrough])


def server(folder: Path, rbac: bool = True) -> Config:
    """The sidecar of the callee: ends TLS, asks for the caller's certificate, checks who it is."""
    policy = {
        "action": "ALLOW",
        "policies": {
            "client": {
                "permissions": [{"any": True}],
                "principals": [{"authenticated": {"principal_name": {"exact": CLIENT_IDENTITY}}}],
            }
        },
    }
    http_rbac = _filter("http.rbac", "RBAC", rules=policy)
    tcp_rbac = _filter("network.rbac", "RBAC", rules=policy, stat_prefix="rbac")
    route = {
        "name": "default",
        "match": {"prefix": "/"},
        "route": {"cluster": f"inbound|{HTTP}||", "timeout": "0s"},
    }
    hosts = [{"name": "inbound|http", "domains": ["*"], "routes": [route]}]
    manager = _manager("inbound", hosts, [*([http_rbac] if rbac else []), _router()])
    manager["typed_config"] |= {
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"subject": True, "dns": True, "uri": True},
    }
    chains = [
        _inbound_chain(HTTP, [manager], folder),
        _inbound_chain(TCP, [*([tcp_rbac] if rbac else []), _tcp(f"inbound|{TCP}||")], folder),
    ]
    inspectors = [
        _filter("listener.original_dst", "OriginalDst"),
        _filter("listener.tls_inspector", "TlsInspector"),
    ]
    listener = {
        "name": "virtualInbound",
        "address": _address("0.0.0.0", INBOUND),
        "listener_filters": inspectors,
        "filter_chains": chains,
    }
    bind = {"source_address": {"address": "127.0.0.6", "port_value": 0}}
    clusters = [_original(f"inbound|{port}||", upstream_bind_config=bind) for port in (HTTP, TCP)]
    return _bootstrap([listener], clusters)


def _bootstrap(listeners: list[Config], clusters: list[Config]) -> Config:
    """Statistics as few as Istio's own inclusion list leaves them."""
    patterns = [
        {"prefix": prefix} for prefix in ("cluster_manager", "listener_manager", "server", "cluster.xds")
    ]
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": patterns}}},
    }


def _address(address: str, port: int) -> Config:
    return {"socket_address": {"address": address, "port_value": port}}


def _filter(path: str, message: str, **fields: Any) -> Config:
    """`http.rbac`, `RBAC` -> the filter envoy.filters.http.rbac with its configuration."""
    return {
        "name": f"envoy.filters.{path}",
        "typed_config": {"@type": f"{_FILTERS}.{path}.v3.{message}", **fields},
    }


def _router() -> Config:
    return _filter("http.router", "Router")


def _tcp(cluster: str) -> Config:
    return _filter("network.tcp_proxy", "TcpProxy", stat_prefix=cluster, cluster=cluster)


def _manager(direction: str, hosts: list[Config], filters: list[Config]) -> Config:
    return _filter(
        "network.http_connection_manager",
        "HttpConnectionManager",
        stat_prefix=direction,
        route_config={"name": direction, "virtual_hosts": hosts},
        http_filters=filters,
    )


def _handed_to(name: str, address: str, port: int, filter: Config) -> Config:
    """A listener that takes over what was meant for its address."""
    return {
        "name": name,
        "address": _address(address, port),
        "bind_to_port": False,
        "filter_chains": [{"filters": [filter]}],
    }


def _outbound_name(port: int) -> str:
    return f"outbound|{port}||server.bench.svc.cluster.local"


def _outbound_routes(server: str) -> list[Config]:
    retry = {"retry_on": "connect-failure,refused-stream,unavailable,cancelled", "num_retries": 2}
    action = {"cluster": _outbound_name(HTTP), "timeout": "0s", "retry_policy": retry}
    domains = ["server", f"server:{HTTP}", server, f"{server}:{HTTP}"]
    route = {"name": "default", "match": {"prefix": "/"}, "route": action}
    rest = {"match": {"prefix": "/"}, "route": {"cluster": "PassthroughCluster", "timeout": "0s"}}
    return [
        {"name": "server", "domains": domains, "routes": [route]},
        {"name": "allow_any", "domains": ["*"], "routes": [rest]},
    ]


def _outbound(port: int, server: str, folder: Path) -> Config:
    endpoint = {"endpoint": {"address": _address(server, port)}}
    name = _outbound_name(port)
    return {
        "name": name,
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": _unlimited(),
        "transport_socket": _tls(
            "Upstream", "client", SERVER_IDENTITY, folder, sni=f"outbound_.{port}_._.server"
        ),
    }


def _original(name: str, **fields: Any) -> Config:
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "10s",
        "circuit_breakers": _unlimited(),
        **fields,
    }


def _unlimited() -> Config:
    kinds = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [dict.fromkeys(kinds, _NO_LIMIT)]}


def _inbound_chain(port: int, filters: list[Config], folder: Path) -> Config:
    return {
        "name": f"0.0.0.0_{port}",
        "filter_chain_match": {"destination_port": port, "transport_protocol": "tls"},
        "transport_socket": _tls(
            "Downstream", "server", CLIENT_IDENTITY, folder, require_client_certificate=True
        ),
        "filters": filters,
    }


def _tls(side: str, name: str, peer: str, folder: Path, **fields: Any) -> Config:
    """Certificate and key `name`, a peer that proves to be `peer`, and Istio's protocol name."""
    certificate = {
        "certificate_chain": {"filename": str(folder / f"{name}.pem")},
        "private_key": {"filename": str(folder / f"{name}.key")},
    }
    validation = {
        "trusted_ca": {"filename": str(folder / "roots.pem")},
        "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer}}],
    }
    common = {
        "alpn_protocols": ["istio-http/1.1"],
        "tls_certificates": [certificate],
        "validation_context": validation,
    }
    message = f"{_TYPES}.extensions.transport_sockets.tls.v3.{side}TlsContext"
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": message, "common_tls_context": common, **fields},
    }
