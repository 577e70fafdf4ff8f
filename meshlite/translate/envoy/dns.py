"""Clusters whose endpoints are names to be resolved: those that are written down, or whatever is asked for.

Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/service_discovery
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.values import only

_BASE = "envoy.extensions"
_PORT = "envoy.upstream.dynamic_port"
_TIMES = {
    "dns_lookup_family": "V4_PREFERRED",
    "dns_refresh_rate": "60s",
    "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "60s"},
}


def written(logical: bool) -> dict[str, Any]:
    """What Envoy knew as STRICT_DNS, or as LOGICAL_DNS, where all addresses of a name are one endpoint.

    A name that cannot be resolved holds up nobody else: its cluster is there at once, empty.
    """
    fields = {
        **_TIMES,
        "respect_dns_ttl": True,
        "dns_jitter": "0.100s",
        **only(all_addresses_in_single_endpoint=logical),
    }
    kind = {"name": "envoy.cluster.dns", "typed_config": typed(f"{_BASE}.clusters.dns.v3.DnsCluster", fields)}
    return {"cluster_type": kind, "wait_for_warm_on_init": False}


def asked_for(cluster: str) -> dict[str, Any]:
    """Resolves the host of each request; with `waiting`, the server name of each TLS connection."""
    name = f"{_BASE}.clusters.dynamic_forward_proxy.v3.ClusterConfig"
    config = typed(name, {"dns_cache_config": _cache(cluster)})
    return {"cluster_type": {"name": "envoy.clusters.dynamic_forward_proxy", "typed_config": config}}


def waiting(cluster: str, port: int) -> list[dict[str, Any]]:
    """Network filters that hold a TLS connection until the address of its server name is known."""
    text = {"text_format_source": {"inline_string": str(port)}}
    state = {"on_new_connection": [{"object_key": _PORT, "factory_key": _PORT, "format_string": text}]}
    config = {"dns_cache_config": _cache(cluster), "port_value": port}
    network = f"{_BASE}.filters.network"
    return [
        {
            "name": "envoy.filters.network.set_filter_state",
            "typed_config": typed(f"{network}.set_filter_state.v3.Config", state),
        },
        {
            "name": "envoy.filters.network.sni_dynamic_forward_proxy",
            "typed_config": typed(f"{network}.sni_dynamic_forward_proxy.v3.FilterConfig", config),
        },
    ]


def _cache(cluster: str) -> dict[str, Any]:
    """Shared by its name, so it must be the same in the cluster and before it."""
    return {"name": cluster, **_TIMES}
