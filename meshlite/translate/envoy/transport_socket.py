"""What lies between a cluster's bytes and the wire: TLS that the proxy originates, and the PROXY header.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/v3/tls.proto
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.values import SECRETS, only
from meshlite.translate.plan.cluster import Policy, Tls

_SOCKETS = "envoy.extensions.transport_sockets"


def transport_socket(policy: Policy, http2: bool) -> dict[str, Any] | None:
    """None: bytes go as they are."""
    inner = _tls(policy.tls, http2) if policy.tls is not None else None
    if not policy.proxy_protocol:
        return inner
    name = "envoy.transport_sockets.raw_buffer"
    raw = {"name": name, "typed_config": typed(f"{_SOCKETS}.raw_buffer.v3.RawBuffer")}
    fields = {"config": {"version": f"V{policy.proxy_protocol}"}, "transport_socket": inner or raw}
    return {
        "name": "envoy.transport_sockets.upstream_proxy_protocol",
        "typed_config": typed(f"{_SOCKETS}.proxy_protocol.v3.ProxyProtocolUpstreamTransport", fields),
    }


def upstream_options(tls: Tls) -> dict[str, Any]:
    """For HTTP: the server's name, and the name to be found in its certificate, from each request's host.

    As in Istio the latter needs the former, and is not looked for where the rule has names.
    """
    if tls.sni:
        return {}
    return {"auto_sni": True} | only(auto_san_validation=bool(tls.roots) and not tls.names)


def _tls(tls: Tls, http2: bool) -> dict[str, Any]:
    common: dict[str, Any] = {
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        **only(alpn_protocols=["h2"] if http2 else None),
    }
    if tls.certificate:
        common["tls_certificate_sds_secret_configs"] = [_secret(tls.certificate)]
    if tls.roots:
        common["combined_validation_context"] = {
            "default_validation_context": only(
                match_typed_subject_alt_names=[match for name in tls.names for match in _names(name)]
            ),
            "validation_context_sds_secret_config": _secret(tls.roots),
        }
    fields = {"common_tls_context": common, **only(sni=tls.sni)}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(f"{_SOCKETS}.tls.v3.UpstreamTlsContext", fields),
    }


def _names(name: str) -> list[dict[str, Any]]:
    """A name may stand in a certificate as a host, a URI or an address."""
    return [{"san_type": kind, "matcher": {"exact": name}} for kind in ("DNS", "URI", "IP_ADDRESS")]


def _secret(name: str) -> dict[str, Any]:
    return {"name": name, "sds_config": SECRETS}
