"""Where connections enter the proxy, and which of its chains takes them. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from meshlite.model.mesh import PathNormalization
from meshlite.model.rate_limit import RateLimit
from meshlite.translate.plan.cluster import Tunnelling
from meshlite.translate.plan.extension import Extension
from meshlite.translate.plan.guard import NOTHING, Guard, Verdicts
from meshlite.translate.plan.patch import Patch
from meshlite.translate.plan.route import Text


@dataclass(frozen=True, slots=True)
class HttpChain:
    """Speaks HTTP and follows a route table; `table` empty: everything goes to `cluster`, that of `port`.

    `guard`: what requests meet before anything else. `limit`: of what it lets through.
    """

    name: str
    table: str = ""
    cluster: str = ""
    port: int = 0
    extensions: tuple[Extension, ...] = ()
    guard: Guard = NOTHING
    limit: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """By which policy, and what was called, for people."""

    policy: str
    destination: str


@dataclass(frozen=True, slots=True)
class TcpChain:
    """Passes bytes on to a cluster, or to several by their `shares`, where `cluster` is empty.

    `idle`: close after that long without any; None: Envoy's own, 1 hour. `lifetime`: close at that age.
    `named_port`: the port at the host whose name the client asks for; 0: the cluster knows.

    `guard`: what is noted of connections, and who is asked. `denied`: it takes what a policy denies.
    """

    name: str
    cluster: str
    idle: timedelta | None = None
    hash_address: bool = False
    named_port: int = 0
    extensions: tuple[Extension, ...] = ()
    shares: tuple[tuple[str, int], ...] = ()
    lifetime: timedelta | None = None
    tunnel: Tunnelling | None = None
    guard: Guard = NOTHING
    denied: Denied | None = None


@dataclass(frozen=True, slots=True)
class ByName:
    """Chains by the server name that a TLS client asks for, in this order; `*`: any TLS, `*.x`: any below x.

    `otherwise`: for what has none of the names, or speaks no TLS.
    """

    names: tuple[tuple[str, str], ...]
    otherwise: str


@dataclass(frozen=True, slots=True)
class ByProtocol:
    """The chain for plain HTTP, and what is chosen `otherwise`."""

    http: str
    otherwise: str | ByName


Choice = str | ByName | ByProtocol

Chosen = tuple[tuple[str, Choice], ...]
"""Chains by the address dialled, sorted."""

Named = tuple[tuple[str, str], ...]
"""Chains by server name."""


@dataclass(frozen=True, slots=True)
class PortChoice:
    """The chain for a connection to one port, asked for in this order.

    `declared`: by address, whatever is spoken; then `ranges`, by subnet, and `names`, by the server name that
    a TLS client asks for (`*.x`: any below x); then `http`, for what turns out to be plain HTTP (empty: it is
    not looked for); then `detected`, by address; then `otherwise`.
    """

    port: int
    otherwise: str
    declared: Chosen = ()
    http: str = ""
    detected: Chosen = ()
    ranges: Chosen = ()
    names: Named = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What is asked before a connection comes to a chain, and the chains of denials it goes to instead."""

    chain: str
    verdicts: Verdicts


@dataclass(frozen=True, slots=True)
class Chooser:
    """Which chain takes a connection. Shared by the listeners of callers that see the same.

    `http`, `otherwise`: for ports without an entry. `fenced`: addresses of services;
    what dials there without being known goes to the chain `fence` instead of `otherwise`.
    `judged`: chains that not everybody comes to. A client that is denied gets not one byte.
    """

    ports: tuple[PortChoice, ...]
    otherwise: str
    http: str = ""
    fenced: Text | None = None
    fence: str = ""
    judged: tuple[Judged, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Who opens the connections: `identity` empty if nobody of the mesh; `label` names it in metrics.

    `certificate`: the name of the one that it calls other nodes by, if it calls any.
    """

    identity: str
    label: str
    namespace_path: str
    certificate: str = ""


@dataclass(frozen=True, slots=True)
class Entrance:
    """A port inside a network namespace; without `addresses`, a door that only this Envoy comes in by.

    `destination`, for inbound: the FQDN of the service behind it.

    `silent_ports`: original destination ports on which nothing is looked at, because the server speaks first
    or the protocol is declared. `redirected`: clients dialled another address; else they mean this one.
    """

    name: str
    inbound: bool
    addresses: tuple[str, ...]
    port: int
    source: Source
    silent_ports: tuple[int, ...]
    destination: str = ""
    normalization: PathNormalization = "BASE"
    redirected: bool = True


@dataclass(frozen=True, slots=True)
class Listener:
    """An entrance, and the chains behind it. Chains and chooser may change while connections stay."""

    entrance: Entrance
    http: tuple[HttpChain, ...]
    tcp: tuple[TcpChain, ...]
    chooser: Chooser
    patches: tuple[Patch, ...] = ()
