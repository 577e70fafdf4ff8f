"""Who called whom: Envoy's compact counters, expanded to services and to Istio's metric. Pure.

Source of names and labels: https://istio.io/latest/docs/reference/config/metrics/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from meshlite.model.mesh import Snapshot
from meshlite.model.names import CLUSTER_SUFFIX, ROOT_NAMESPACE, fqdn
from meshlite.model.workload import Workload

REQUESTS = "envoy_meshlite_requests"
CONNECTIONS = "envoy_meshlite_connections"
_METRIC = re.compile(r"^(\w+)\{([^}]*)\} (\d+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Edge:
    """One counter. `source`, `destination`: service FQDNs or "unknown"; `code` is empty for connections."""

    source: str
    workload: str
    destination: str
    port: int
    version: str
    code: str
    flags: str
    count: int


class Names:
    """Looks up in a snapshot what the short labels of Envoy's counters mean."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @cached_property
    def workloads(self) -> Mapping[str, Workload]:
        return {f"{w.namespace}/{w.name}": w for w in self._snapshot.workloads}

    def source(self, label: str) -> tuple[str, str]:
        """`shop/productpage-1` -> its service's FQDN and its name."""
        workload = self.workloads.get(label)
        if workload is None:
            if label.startswith(f"{ROOT_NAMESPACE}/"):
                name = label.rpartition("/")[2]
                return fqdn(name, ROOT_NAMESPACE), name
            return _UNKNOWN, label.rpartition("/")[2] or _UNKNOWN
        return workload.service_fqdn, workload.name


def edges(prometheus: str, names: Names) -> tuple[Edge, ...]:
    """The edges in Envoy's metrics. Connections that carried HTTP are counted as requests only."""
    return tuple(_edges(prometheus.splitlines(), names))


def _edges(lines: Iterable[str], names: Names) -> Iterator[Edge]:
    for line in lines:
        if not line.startswith((REQUESTS, CONNECTIONS)) or (match := _METRIC.match(line)) is None:
            continue
        labels = dict(_LABEL.findall(match[2]))
        cluster = labels.get("cluster", "")
        if match[1] == CONNECTIONS and not cluster:
            continue
        destination, port, version = _target(cluster, labels.get("destination", ""))
        source, workload = names.source(labels.get("source", ""))
        yield Edge(
            source,
            workload,
            destination,
            port,
            version,
            labels.get("code", ""),
            labels.get("flags", "-"),
            int(match[3]),
        )


def _target(cluster: str, destination: str) -> tuple[str, int, str]:
    """The FQDN, port and subset that a cluster's name, or an inbound destination, says."""
    if cluster.startswith("outbound|") and cluster.count("|") >= 3:
        _, port, subset, fqdn, *_ = cluster.split("|")
        return fqdn, int(port), subset
    name, _, port = destination.rpartition(":")
    return name or cluster or _UNKNOWN, int(port) if port.isdigit() else 0, ""


def istio(found: Iterable[Edge], trust_domain: str) -> Iterator[str]:
    """`istio_requests_total` of the edges, with the labels that dashboards group by."""
    summed: dict[str, int] = {}
    for edge in found:
        if edge.code:
            line = _labels(edge, trust_domain)
            summed[line] = summed.get(line, 0) + edge.count
    if summed:
        yield "# TYPE istio_requests_total counter"
    for line, count in sorted(summed.items()):
        yield f"istio_requests_total{{{line}}} {count}"


def _labels(edge: Edge, trust_domain: str) -> str:
    source, source_namespace = _split(edge.source)
    target, target_namespace = _split(edge.destination)
    values = {
        "reporter": "source",
        "source_workload": edge.workload,
        "source_canonical_service": source,
        "source_app": source,
        "source_workload_namespace": source_namespace,
        "source_principal": _principal(trust_domain, source, source_namespace),
        "destination_service": edge.destination,
        "destination_service_name": target,
        "destination_service_namespace": target_namespace,
        "destination_workload": target,
        "destination_workload_namespace": target_namespace,
        "destination_canonical_service": target,
        "destination_app": target,
        "destination_version": edge.version or _UNKNOWN,
        "destination_port": str(edge.port),
        "destination_principal": _principal(trust_domain, target, target_namespace),
        "request_protocol": "http",
        "response_code": edge.code,
        "response_flags": edge.flags,
    }
    return ",".join(f'{name}="{value}"' for name, value in values.items())


def _split(fqdn: str) -> tuple[str, str]:
    """`reviews.shop.svc.cluster.local` -> `reviews`, `shop`; an outside name as it is, of no namespace."""
    if not fqdn.endswith(f".{CLUSTER_SUFFIX}"):
        return fqdn, _UNKNOWN
    name, _, rest = fqdn.partition(".")
    return name, rest.partition(".")[0] or _UNKNOWN


def _principal(trust_domain: str, service: str, namespace: str) -> str:
    if _UNKNOWN in (service, namespace):
        return _UNKNOWN
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{service}"
