"""Istio's verdict on a DestinationRule."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.networking.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    DestinationRule,
    OutlierDetection,
    PortTrafficPolicy,
    TrafficPolicy,
    TunnelSettings,
)
from meshlite.model.rules import forms
from meshlite.model.rules.labels import labels, selector
from meshlite.model.rules.load_balancer import load_balancer

_SPEC: Path = ("spec",)


def destination_rule(spec: DestinationRule, resource: Resource) -> Iterator[Fault]:
    if reason := forms.wildcard_domain(spec.host):
        yield Fault((*_SPEC, "host"), reason)
    if spec.traffic_policy:
        yield from _traffic_policy(spec.traffic_policy, (*_SPEC, "trafficPolicy"))
    seen: set[str] = set()
    for place, subset in enumerate(spec.subsets):
        at = (*_SPEC, "subsets", place)
        if reason := forms.label(subset.name):
            yield Fault((*at, "name"), reason)
        if subset.name in seen:
            yield Fault((*at, "name"), f"subset {subset.name} is defined twice")
        seen.add(subset.name)
        yield from labels(subset.labels, (*at, "labels"))
        if subset.traffic_policy:
            yield from _traffic_policy(subset.traffic_policy, (*at, "trafficPolicy"))
    yield from _visibility(spec, resource.namespace)
    yield from selector(spec.workload_selector, (*_SPEC, "workloadSelector"))


def _visibility(spec: DestinationRule, namespace: str) -> Iterator[Fault]:
    at = (*_SPEC, "exportTo")
    if reason := forms.export_to(spec.export_to, namespace):
        yield Fault(at, reason)
    elif spec.workload_selector and any(place not in (".", namespace) for place in spec.export_to):
        yield Fault(at, "a rule with a workloadSelector is for its own namespace only")


def _traffic_policy(policy: TrafficPolicy, at: Path) -> Iterator[Fault]:
    if not policy.model_fields_set:
        yield Fault(at, "is empty: set something, or leave it out")
    if policy.tunnel and policy.proxy_protocol:
        yield Fault((*at, "proxyProtocol"), "cannot be combined with tunnel")
    yield from _settings(policy, at)
    if policy.tunnel:
        yield from _tunnel(policy.tunnel, (*at, "tunnel"))
    for place, port in enumerate(policy.port_level_settings):
        here = (*at, "portLevelSettings", place)
        if port.model_fields_set <= {"port"}:
            yield Fault(here, "sets nothing for its port")
        if any(other.port.number == port.port.number for other in policy.port_level_settings[:place]):
            yield Fault((*here, "port"), f"port {port.port.number} is given twice", warning=True)
        yield from _settings(port, here)


def _settings(policy: TrafficPolicy | PortTrafficPolicy, at: Path) -> Iterator[Fault]:
    if policy.load_balancer:
        has_outlier_detection = policy.outlier_detection is not None
        yield from load_balancer(policy.load_balancer, has_outlier_detection, (*at, "loadBalancer"))
    if policy.connection_pool:
        yield from connection_pool(policy.connection_pool, (*at, "connectionPool"))
    if policy.outlier_detection:
        yield from _outlier_detection(policy.outlier_detection, (*at, "outlierDetection"))
    if policy.tls:
        yield from _tls(policy.tls, (*at, "tls"))


def connection_pool(pool: ConnectionPoolSettings, at: Path) -> Iterator[Fault]:
    """Also for the limits of a Sidecar."""
    if pool.tcp is None and pool.http is None:
        yield Fault(at, "is empty: set tcp or http")
    if pool.http and pool.http.h2_upgrade_policy == "UPGRADE" and pool.http.use_client_protocol:
        yield Fault((*at, "http", "useClientProtocol"), "contradicts h2UpgradePolicy UPGRADE")


def _outlier_detection(outlier: OutlierDetection, at: Path) -> Iterator[Fault]:
    if outlier.consecutive_local_origin_failures and not outlier.split_external_local_origin_errors:
        reason = "counts only with splitExternalLocalOriginErrors: true"
        yield Fault((*at, "consecutiveLocalOriginFailures"), reason)
    for place, code in enumerate(outlier.outlier_detection_http_error_codes):
        if not 100 <= code <= 599:
            yield Fault((*at, "outlierDetectionHttpErrorCodes", place), f"{code} is not an HTTP status")


def _tls(tls: ClientTLSSettings, at: Path) -> Iterator[Fault]:
    if tls.mode not in ("SIMPLE", "MUTUAL"):
        return
    files = {
        "clientCertificate": tls.client_certificate,
        "privateKey": tls.private_key,
        "caCertificates": tls.ca_certificates,
        "caCrl": tls.ca_crl,
    }
    if tls.insecure_skip_verify:
        unchecked = {"caCertificates": tls.ca_certificates, "subjectAltNames": tls.subject_alt_names}
        if tls.mode == "SIMPLE":
            unchecked["credentialName"] = tls.credential_name
        for name in (name for name, value in unchecked.items() if value):
            yield Fault((*at, name), "is not checked when insecureSkipVerify is true")
    if tls.credential_name:
        for name in (name for name, value in files.items() if value):
            yield Fault((*at, name), "cannot be combined with credentialName")
    elif tls.mode == "MUTUAL":
        for name in ("clientCertificate", "privateKey"):
            if not files[name]:
                yield Fault((*at, name), "is required for mode MUTUAL")


def _tunnel(tunnel: TunnelSettings, at: Path) -> Iterator[Fault]:
    if tunnel.protocol not in ("", "CONNECT", "POST"):
        yield Fault((*at, "protocol"), "must be CONNECT or POST")
    if (reason := forms.domain(tunnel.target_host)) and not forms.is_address(tunnel.target_host):
        yield Fault((*at, "targetHost"), reason)
