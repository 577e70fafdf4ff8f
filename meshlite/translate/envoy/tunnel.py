"""The calling end of tunnels: mutual TLS with the node of a replica, by the certificate of whoever calls.

Requests travel as they are, over HTTP/2 where the service speaks HTTP of a known version; bytes within a
CONNECT, for which they pass a listener that only this Envoy comes in by. Sources:
https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret and
https://www.envoyproxy.io/docs/envoy/latest/configuration/other_features/internal_listener
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.values import SECRETS, duration, marked, only
from meshlite.translate.plan.cluster import CONNECT_TIMEOUT, UNLIMITED, Endpoint, Tunnelled

OUT = "tunnel-out"
"""The listener that bytes for other nodes pass, and the cluster behind it."""

CERTIFICATE = "envoy.tls.certificate_mappers.on_demand_secret"
"""Filter state that names the certificate to call by: the caller's identity.

It alone would not keep connections apart: pools are told apart by the one hashable value that listeners set.
"""

ROOTS = "ROOTCA"

_MATCH = "meshlite.tunnel"
_TARGET = "meshlite.tunnel"
_ADDRESS = "envoy.filters.listener.original_dst"
_SOCKETS = "envoy.extensions.transport_sockets"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_SERVER_NAME = "envoy.network.upstream_server_name"
_SERVER_IDENTITIES = "envoy.network.upstream_subject_alt_names"
_SELECTOR = f"{_SOCKETS}.tls.cert_selectors.on_demand_secret.v3.Config"
_MAPPER = f"{_SOCKETS}.tls.cert_mappers.filter_state_override.v3.Config"
_TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_IPPROTO_TCP, _TCP_USER_TIMEOUT = 6, 18
_LOST_MILLISECONDS = 10_000
_NOBODY = "nobody"
"""The certificate of callers without an identity. There is none of this name, so they get nowhere."""

_RAW = {
    "name": "envoy.transport_sockets.raw_buffer",
    "typed_config": typed(f"{_SOCKETS}.raw_buffer.v3.RawBuffer"),
}
TLS = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}


def validation(names: list[dict[str, Any]]) -> dict[str, Any]:
    """The other side must be certified by the mesh, and be one of these."""
    return {
        "default_validation_context": {
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": name} for name in names]
        },
        "validation_context_sds_secret_config": {"name": ROOTS, "sds_config": SECRETS},
    }


def workloads_of(trust_domains: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"prefix": f"spiffe://{domain}/ns/"} for domain in trust_domains]


def _tls(names: list[dict[str, Any]], server: str = "", mixed: bool = False) -> dict[str, Any]:
    """`mixed`: its cluster takes whatever HTTP the other side chooses, so Envoy wants ALPN to be set."""
    mapper = {"name": "caller", "typed_config": typed(_MAPPER, {"default_value": _NOBODY})}
    selector = typed(_SELECTOR, {"config_source": SECRETS, "certificate_mapper": mapper})
    common = {
        "tls_params": TLS,
        "combined_validation_context": validation(names),
        "custom_tls_certificate_selector": {
            "name": "envoy.tls.certificate_selectors.on_demand_secret",
            "typed_config": selector,
        },
        **only(alpn_protocols=["h2", "http/1.1"] if mixed else None),
    }
    fields = {"common_tls_context": common, **only(sni=server)}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(f"{_SOCKETS}.tls.v3.UpstreamTlsContext", fields),
    }


def secured(way: Tunnelled, mixed: bool) -> dict[str, Any]:
    return _tls([{"exact": identity} for identity in way.identities], way.server, mixed)


def requests(way: Tunnelled, mixed: bool) -> dict[str, Any]:
    """The socket of endpoints that take requests through a tunnel."""
    return {"name": _MATCH, "match": {_MATCH: True}, "transport_socket": secured(way, mixed)}


def plain() -> dict[str, Any]:
    """The socket of all other endpoints of such a cluster."""
    return {"name": "link", "match": {}, "transport_socket": _RAW}


def streams(inner: dict[str, Any] | None) -> dict[str, Any]:
    """The socket of endpoints that take bytes. `inner`: what the replica itself speaks, if not plain."""
    kept = [{"kind": {"host": {}}, "name": name} for name in dict.fromkeys((_ADDRESS, _TARGET))]
    fields = {"passthrough_metadata": kept, "transport_socket": inner or _RAW}
    socket = {
        "name": "envoy.transport_sockets.internal_upstream",
        "typed_config": typed(f"{_SOCKETS}.internal_upstream.v3.InternalUpstreamTransport", fields),
    }
    return {"name": _MATCH, "match": {_MATCH: True}, "transport_socket": socket}


def metadata(endpoint: Endpoint) -> dict[str, Any]:
    way = endpoint.tunnel
    assert way is not None
    found: dict[str, Any] = {"envoy.transport_socket_match": {_MATCH: True}}
    if way.streams:
        target = {"server": way.server, "identities": ",".join(way.identities)}
        found |= {_ADDRESS: {"local": _shown(endpoint)}, _TARGET: target}
    return found


def entry(endpoint: Endpoint) -> dict[str, Any]:
    """The address of an endpoint that takes bytes: the way out, told apart by where it leads."""
    return {"envoy_internal_address": {"server_listener_name": OUT, "endpoint_id": _shown(endpoint)}}


def _shown(endpoint: Endpoint) -> str:
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{host}:{endpoint.port}"


def noticing() -> dict[str, Any]:
    """Connections to a host that is lost end within seconds, and what waits on them with an error.

    Source: tcp(7), TCP_USER_TIMEOUT, which also says when keepalive gives up.
    """
    unanswered = {"level": _IPPROTO_TCP, "name": _TCP_USER_TIMEOUT, "int_value": _LOST_MILLISECONDS}
    option = {**unanswered, "state": "STATE_PREBIND", "description": "TCP_USER_TIMEOUT"}
    probes = {"keepalive_probes": 2, "keepalive_time": 5, "keepalive_interval": 5}
    return {
        "upstream_bind_config": {"socket_options": [option]},
        "upstream_connection_options": {"tcp_keepalive": probes},
    }


def listener() -> dict[str, Any]:
    """The way out for bytes: whom to ask for and whom to believe is told by the endpoint."""
    state = "envoy.extensions.filters.network.set_filter_state.v3.Config"
    values = [(_SERVER_NAME, "server"), (_SERVER_IDENTITIES, "identities")]
    told = [
        {
            "object_key": key,
            "format_string": {
                "text_format_source": {"inline_string": f"%DYNAMIC_METADATA({_TARGET}:{name})%"}
            },
        }
        for key, name in values
    ]
    proxy = {
        "stat_prefix": OUT,
        "cluster": OUT,
        "idle_timeout": "0s",
        "tunneling_config": {"hostname": f"%DYNAMIC_METADATA({_TARGET}:server)%:1"},
    }
    return {
        "name": OUT,
        "internal_listener": {},
        "stat_prefix": OUT,
        "listener_filters": [
            {
                "name": _ADDRESS,
                "typed_config": typed("envoy.extensions.filters.listener.original_dst.v3.OriginalDst"),
            }
        ],
        "filter_chains": [
            {
                "name": OUT,
                "filters": [
                    {
                        "name": "envoy.filters.network.set_filter_state",
                        "typed_config": typed(state, {"on_new_connection": told}),
                    },
                    {
                        "name": "envoy.filters.network.tcp_proxy",
                        "typed_config": typed(
                            "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", proxy
                        ),
                    },
                ],
            }
        ],
    }


def cluster(trust_domains: tuple[str, ...], mark: int) -> dict[str, Any]:
    """All tunnels, for bytes."""
    seen = noticing()
    return {
        "name": OUT,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": duration(CONNECT_TIMEOUT),
        "upstream_bind_config": {
            "socket_options": [*marked(mark), *seen["upstream_bind_config"]["socket_options"]]
        },
        "upstream_connection_options": seen["upstream_connection_options"],
        "circuit_breakers": {"thresholds": [dict.fromkeys(_LIMITS, UNLIMITED)]},
        "transport_socket": _tls(workloads_of(trust_domains)),
        "typed_extension_protocol_options": {
            _OPTIONS: typed(_OPTIONS, {"explicit_http_config": {"http2_protocol_options": {}}})
        },
    }
