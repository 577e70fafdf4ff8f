"""Decides how connections enter a workload: from outside the mesh, and through an inbound chain of its own.

In the mesh a hop is one pass, on the caller's side. A workload whose called side has something to say
(patches, extensions, limits, other ports) has an inbound chain for each of its ports, a door, which callers'
clusters lead into.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from meshlite.model.mesh import PathNormalization
from meshlite.model.rate_limit import RateLimit
from meshlite.model.workload import Port, Workload
from meshlite.translate.node import Attachment
from meshlite.translate.plan.catalog import DECLARED_HTTP, NOT_HTTP, http_of
from meshlite.translate.plan.cluster import INBOUND_PASSTHROUGH, Http, InboundCluster, Pool
from meshlite.translate.plan.extension import Extension
from meshlite.translate.plan.guard import NOTHING, Guard, verdicts
from meshlite.translate.plan.listener import (
    Chooser,
    Entrance,
    HttpChain,
    Judged,
    Listener,
    PortChoice,
    Source,
    TcpChain,
)
from meshlite.translate.plan.outbound import SERVER_FIRST, denials
from meshlite.translate.plan.patch import CLUSTERS, LISTENERS, ROUTES, Patch, of

HTTP = HttpChain("http", cluster=INBOUND_PASSTHROUGH)
TCP = TcpChain("tcp", INBOUND_PASSTHROUGH)


@dataclass(frozen=True, slots=True)
class Ingress:
    """Where an app takes what comes in on `port`. `loopback`: on its own loopback, else on its address."""

    port: int
    http: Http
    declared: bool
    to: int
    loopback: str = ""
    pool: Pool | None = None


@dataclass(frozen=True, slots=True)
class ServerSide:
    """What a workload's called side has to say."""

    patches: tuple[Patch, ...] = ()
    extensions: tuple[Extension, ...] = ()
    ingress: tuple[Ingress, ...] = ()
    pool: Pool | None = None
    limit: RateLimit | None = None

    @property
    def plain(self) -> bool:
        own = any(not patch.adds and patch.apply_to != "EXTENSION_CONFIG" for patch in self.patches)
        return not (own or self.extensions or self.ingress or self.pool or self.limit)


@dataclass(frozen=True, slots=True)
class Door:
    """A port of a workload that has an inbound chain: callers' endpoints are the listener of that `name`."""

    name: str
    workload: str
    port: int
    declared: bool
    cluster: InboundCluster
    extensions: tuple[Extension, ...]
    guard: Guard = NOTHING
    limit: RateLimit | None = None

    @property
    def http(self) -> HttpChain | None:
        """The chain for HTTP, if it may be spoken here."""
        if self.cluster.http == "none":
            return None
        return HttpChain(
            f"http/{self.port}",
            cluster=self.cluster.name,
            port=self.port,
            extensions=self.extensions,
            guard=self.guard,
            limit=self.limit,
        )

    @property
    def tcp(self) -> TcpChain | None:
        if self.declared and self.cluster.http != "none":
            return None
        network = tuple(one for one in self.extensions if one.network)
        guard = self.guard.of_connections()
        pool = self.cluster.pool
        return TcpChain(
            f"tcp/{self.port}",
            self.cluster.name,
            idle=pool.tcp_idle,
            lifetime=pool.lifetime,
            extensions=network,
            guard=guard,
        )

    @property
    def choice(self) -> PortChoice:
        http, tcp = self.http, self.tcp
        if tcp is None:
            return PortChoice(self.port, http.name if http is not None else "")
        return PortChoice(self.port, tcp.name, http=http.name if http is not None else "")

    @property
    def judged(self) -> tuple[tuple[Judged, ...], tuple[TcpChain, ...]]:
        """What connections are asked that are not HTTP, and the chains of those that are denied."""
        if self.tcp is None:
            return (), ()
        return _judged(self.tcp.name, self.guard, f"{self.cluster.host}:{self.port}")


def doors(
    attachment: Attachment,
    workloads: tuple[Workload, ...],
    side: ServerSide,
    guards: Guards,
    mark: int,
) -> tuple[Door, ...]:
    """A door for each TCP port that one of the workloads in a namespace is called on."""
    if (side.plain and not guards.apart) or not attachment.link:
        return ()
    made: dict[int, Door] = {}
    ingress = {one.port: one for one in side.ingress}
    for workload in workloads:
        for port in workload.ports:
            if port.protocol != "udp" and port.number not in made:
                place = ingress.get(port.number) or _own(port)
                guard = guards.of(workload).settled(port.number, ())
                made[port.number] = _door(attachment, workload, place, side, mark, guard)
    return tuple(door for _, door in sorted(made.items()))


@dataclass(frozen=True)
class Guards:
    """What stands before each workload (id) of a namespace; `apart`: they judge for themselves."""

    by_workload: Mapping[str, Guard]
    apart: bool

    def of(self, workload: Workload) -> Guard:
        return self.by_workload[workload.id]


def _own(port: Port) -> Ingress:
    return Ingress(port.number, http_of(port.protocol), port.protocol != "auto", port.number)


def _door(
    attachment: Attachment, workload: Workload, place: Ingress, side: ServerSide, mark: int, guard: Guard
) -> Door:
    key, link = attachment.key, attachment.link
    cluster = InboundCluster(
        f"inbound|{place.port}||{key}",
        workload.service_fqdn,
        workload.service,
        workload.namespace,
        place.http,
        place.pool or side.pool or Pool(),
        place.loopback or link,
        place.to,
        attachment.path if place.loopback else "",
        mark,
        of(side.patches, CLUSTERS),
    )
    extensions = tuple(one for one in side.extensions if one.on(place.port))
    name = f"inbound/{key}/{place.port}"
    return Door(name, workload.id, place.port, place.declared, cluster, extensions, guard, side.limit)


def listener(
    entrance: Entrance,
    workloads: tuple[Workload, ...],
    doors: tuple[Door, ...],
    side: ServerSide,
    guard: Guard,
) -> Listener:
    """For connections from outside the mesh: through the doors' chains where there are doors.

    `guard`: of the workload that the namespace belongs to, for the rest.
    """
    http = (*(door.http for door in doors if door.http is not None), replace(HTTP, guard=guard))
    tcp = (*(door.tcp for door in doors if door.tcp is not None), replace(TCP, guard=guard.of_connections()))
    found = [door.judged for door in doors] + [_judged(TCP.name, guard, entrance.destination)]
    judged = tuple(one for asked, _ in found for one in asked)
    denied = tuple(chain for _, chains in found for chain in chains)
    chooser = replace(_chooser(workloads, doors), judged=judged)
    return Listener(entrance, http, (*tcp, *denied), chooser, _listening(side))


def _judged(chain: str, guard: Guard, destination: str) -> tuple[tuple[Judged, ...], tuple[TcpChain, ...]]:
    asked = verdicts(guard.of_connections().rules)
    made = denials(asked, destination)
    named = tuple((test, denial.name) for (test, _), denial in zip(asked, made, strict=True))
    return (Judged(chain, named),) if named else (), made


def door_listeners(
    doors: tuple[Door, ...],
    attachment: Attachment,
    service: str,
    side: ServerSide,
    normalization: PathNormalization,
) -> Iterator[Listener]:
    """For connections of the mesh, which the caller's side has let in and knows by name."""
    for door in doors:
        silent = () if door.http is not None and door.tcp is not None else (door.port,)
        source = Source("", "", attachment.path)
        entrance = Entrance(door.name, True, (), door.port, source, silent, service, normalization)
        http = (door.http,) if door.http is not None else ()
        judged, denied = door.judged
        tcp = (door.tcp, *denied) if door.tcp is not None else ()
        choice = door.choice
        chooser = Chooser((), choice.otherwise, choice.http, judged=judged)
        yield Listener(entrance, http, tcp, chooser, _listening(side))


def _listening(side: ServerSide) -> tuple[Patch, ...]:
    return of(side.patches, LISTENERS | ROUTES)


def _chooser(workloads: tuple[Workload, ...], doors: tuple[Door, ...]) -> Chooser:
    """By the port of the workload; on ports it does not declare, by what is spoken."""
    choices = {
        port.number: PortChoice(port.number, HTTP.name if port.protocol in DECLARED_HTTP else TCP.name)
        for workload in workloads
        for port in workload.ports
        if port.protocol in DECLARED_HTTP | NOT_HTTP
    } | {door.port: door.choice for door in doors}
    return Chooser(tuple(choice for _, choice in sorted(choices.items())), TCP.name, HTTP.name)


def silent_ports(workloads: tuple[Workload, ...]) -> tuple[int, ...]:
    declared = {port.number for workload in workloads for port in workload.ports if port.protocol in NOT_HTTP}
    return tuple(sorted(declared | {*SERVER_FIRST}))
