"""DestinationRule: subsets of a service, and how its clients connect to it.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.message import Message
from meshlite.model.networking.destination import PortSelector
from meshlite.model.networking.load_balancer import LoadBalancerSettings
from meshlite.model.scalars import (
    Bool,
    Count,
    Duration,
    Port,
    PositiveDuration,
    Share,
    UInt32,
    WholePercent,
    by_number,
)
from meshlite.model.selector import WorkloadSelector

_H2UpgradePolicy = Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]
_TLSmode = Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]
_ProxyVersion = Literal["V1", "V2"]
H2UpgradePolicy = Annotated[_H2UpgradePolicy, by_number(_H2UpgradePolicy)]
TLSmode = Annotated[_TLSmode, by_number(_TLSmode)]
ProxyVersion = Annotated[_ProxyVersion, by_number(_ProxyVersion)]


class TcpKeepalive(Message):
    probes: UInt32 = 0
    time: PositiveDuration | None = None
    interval: PositiveDuration | None = None


class TCPSettings(Message):
    """0 connections: no limit. Absent `connect_timeout`: 10s. `idle_timeout` 0s: never."""

    max_connections: Count = 0
    connect_timeout: PositiveDuration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: PositiveDuration | None = None
    idle_timeout: Duration | None = None


class ConnectionKeepalive(Message):
    interval: PositiveDuration
    timeout: PositiveDuration


class HTTPSettings(Message):
    """0 in a limit: no limit."""

    http1_max_pending_requests: Count = 0
    http2_max_requests: Count = 0
    max_requests_per_connection: Count = 0
    max_retries: Count = 0
    idle_timeout: PositiveDuration | None = None
    h2_upgrade_policy: H2UpgradePolicy = "DEFAULT"
    use_client_protocol: Bool = False
    max_concurrent_streams: Count = 0
    http2_keep_alive: ConnectionKeepalive | None = None


class ConnectionPoolSettings(Message):
    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Message):
    """An absent count has Envoy's default (5, or off for gateway errors); 0 turns that count off."""

    consecutive_errors: Count = 0
    split_external_local_origin_errors: Bool = False
    consecutive_local_origin_failures: UInt32 | None = None
    consecutive_gateway_errors: UInt32 | None = None
    consecutive_5xx_errors: UInt32 | None = None
    interval: PositiveDuration | None = None
    base_ejection_time: PositiveDuration | None = None
    max_ejection_percent: WholePercent = 0
    min_health_percent: WholePercent = 0
    outlier_detection_http_error_codes: tuple[UInt32, ...] = ()


class ClientTLSSettings(Message):
    mode: TLSmode = "DISABLE"
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: Bool | None = None
    ca_crl: str = ""


class PortTrafficPolicy(Message):
    """Replaces, for this port, everything the rule says for all ports."""

    port: PortSelector
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class TunnelSettings(Message):
    protocol: str = ""
    target_host: str
    target_port: Port


class ProxyProtocol(Message):
    version: ProxyVersion = "V1"


class RetryBudget(Message):
    """Absent: 20 percent of the active requests, at least 3 at a time."""

    percent: Share | None = None
    min_retry_concurrency: UInt32 = 0
    budget_interval: Duration | None = None


class TrafficPolicy(Message):
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: Annotated[tuple[PortTrafficPolicy, ...], Field(max_length=4096)] = ()
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Message):
    """A named part of a service's endpoints; its policy overrides the rule's, part by part."""

    name: str
    labels: dict[str, str] = {}
    traffic_policy: TrafficPolicy | None = None


class DestinationRule(Message):
    host: str
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: WorkloadSelector | None = None
