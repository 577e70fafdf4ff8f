"""Destinations: clusters with the policy their callers follow, and the endpoints behind them. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from meshlite.model.locality import Locality
from meshlite.translate.plan.guard import NOTHING, Guard
from meshlite.translate.plan.patch import Patch
from meshlite.translate.plan.route import HashKey

Place = Locality
NOWHERE = Place()

UNLIMITED = 2**32 - 1
CONNECT_TIMEOUT = timedelta(seconds=10)

PASSTHROUGH = "PassthroughCluster"
BLACK_HOLE = "BlackHoleCluster"
INBOUND_PASSTHROUGH = "InboundPassthroughCluster"

Http = Literal["none", "http1", "http2", "client"]
"""What is spoken to the endpoints; `client`: whatever the caller speaks; `none`: not HTTP."""


Discovery = Literal["eds", "strict_dns", "logical_dns", "original", "dynamic"]
"""How endpoints are found: they are known; by resolving names, all addresses or the first; they are where the
caller dialled; by resolving whatever name a request has."""


@dataclass(frozen=True, slots=True)
class Warmup:
    window: timedelta
    aggression: float = 1.0
    minimum_percent: float = 10.0


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """`size`: of the ring or table, 0 for Envoy's own. `hash_key`: what a consistent hash is made of.

    `weighted`: the endpoints' places have shares, see EndpointSet.
    """

    kind: Literal["least_request", "round_robin", "random", "ring_hash", "maglev", "original"] = (
        "least_request"
    )
    size: int = 0
    warmup: Warmup | None = None
    hash_key: HashKey | None = None
    weighted: bool = False


@dataclass(frozen=True, slots=True)
class Keepalive:
    probes: int = 0
    idle: timedelta | None = None
    interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class RetryBudget:
    percent: float = 20.0
    minimum: int = 3
    interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """Limits and times of the connections to one cluster. None: Envoy's own."""

    connections: int = UNLIMITED
    pending: int = UNLIMITED
    requests: int = UNLIMITED
    retries: int = UNLIMITED
    retry_budget: RetryBudget | None = None
    connect_timeout: timedelta = CONNECT_TIMEOUT
    keepalive: Keepalive | None = None
    tcp_idle: timedelta | None = None
    http_idle: timedelta | None = None
    lifetime: timedelta | None = None
    requests_per_connection: int = 0
    streams: int = 0
    ping_interval: timedelta | None = None
    ping_timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Outliers:
    """When endpoints that fail are left out. A count of None: Envoy's own; 0: that count is off."""

    errors: int | None = None
    gateway_errors: int | None = None
    split_local: bool = False
    local_errors: int = 0
    interval: timedelta | None = None
    ejection: timedelta | None = None
    maximum_percent: int = 0
    codes: tuple[int, ...] = ()
    panic_percent: int = 0


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS that the proxy speaks to the endpoints. `certificate`, `roots`: names of secrets, empty for none.

    Without roots anybody is believed. `names`: of which the server's certificate must have one; none: for
    HTTP without `sni` that of the request's host. `sni` empty: for HTTP the request's host.
    """

    certificate: str = ""
    roots: str = ""
    names: tuple[str, ...] = ()
    sni: str = ""


@dataclass(frozen=True, slots=True)
class Tunnelling:
    """Connections are opened by a CONNECT (or POST) for this host and port."""

    host: str
    port: int
    post: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything about a cluster that a DestinationRule may say. `proxy_protocol`: version of its header."""

    balancer: LoadBalancer = LoadBalancer()
    pool: Pool = Pool()
    outliers: Outliers | None = None
    upgrade: bool | None = None
    client_protocol: bool = False
    tls: Tls | None = None
    proxy_protocol: Literal[0, 1, 2] = 0
    tunnel: Tunnelling | None = None


@dataclass(frozen=True, slots=True)
class Tunnelled:
    """How endpoints on other nodes are reached: by mutual TLS with their node, which is asked for `server`.

    `identities`: of which the server must show one. `streams`: bytes travel within a CONNECT; else
    requests as they are.
    """

    server: str
    identities: tuple[str, ...]
    streams: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`address`: an IP address, `unix://` and a path, or a name to be resolved. `weight` 0: 1.

    `tunnel`: it is the tunnel of a node.

    `chain`: the listener of its inbound chain, which is called instead of the address. `place` and `priority`
    stay at their defaults where they make no difference.
    """

    address: str
    port: int
    workload: str
    version: str = ""
    chain: str = ""
    weight: int = 0
    place: Place = NOWHERE
    priority: int = 0
    tunnel: Tunnelled | None = None


@dataclass(frozen=True, slots=True)
class EndpointSet:
    """Those of priority 0 come first; others step in as they fail. `shares`: of places, within a priority."""

    cluster: str
    endpoints: tuple[Endpoint, ...]
    shares: tuple[tuple[Place, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """One port of one service or subset, as one group of callers uses it.

    `tunnel`: how those of its endpoints are reached that are on other nodes, if there are any.
    `chained`: some of its endpoints are inbound chains. `guard`: what every try of a request meets.
    `names`: what to resolve, for discovery by DNS.
    `override`: the port dialled instead of the caller's. `from_caller`: endpoints are dialled from the
    caller's network namespace.
    """

    name: str
    host: str
    service: str
    namespace: str
    http: Http
    policy: Policy
    mark: int
    chained: bool = False
    patches: tuple[Patch, ...] = ()
    discovery: Discovery = "eds"
    names: EndpointSet | None = None
    override: int = 0
    from_caller: bool = False
    guard: Guard = NOTHING
    tunnel: Tunnelled | None = None

    @property
    def mixed(self) -> bool:
        """Some of its connections carry HTTP/1.1 and others HTTP/2."""
        return self.tunnel is not None and not self.tunnel.streams and self.http == "http1"


@dataclass(frozen=True, slots=True)
class InboundCluster:
    """An app behind its inbound chain.

    `namespace_path`: the network namespace to dial from, empty: the host's.
    """

    name: str
    host: str
    service: str
    namespace: str
    http: Http
    pool: Pool
    address: str
    port: int
    namespace_path: str
    mark: int
    patches: tuple[Patch, ...] = ()
