"""A container's record as the engine shows it -> what the mesh knows of the workload. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from meshlite.model.workload import Found, Health, NetworkNamespace, Port, Workload
from meshlite.sources import labels as says
from meshlite.sources.engine import Record
from meshlite.sources.ports import from_label, merged, of_number
from meshlite.sources.sockets import Listening

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
EPHEMERAL = range(32768, 61000)
"""The kernel's default range for outgoing connections: nobody chose a port there by hand."""


@dataclass(frozen=True)
class Sight:
    """What the host shows of a container, beside the engine's record.

    `started` is the token of its first process; `listening` None where it cannot be told (the host's own
    namespace); `mixed`: it shares a namespace, and these may be others'; `settled`: it had time enough to
    open its ports; `draining`: a signal that ends it was sent.
    """

    started: str
    namespace: NetworkNamespace | None = None
    listening: frozenset[Listening] | None = None
    settled: bool = True
    draining: bool = False
    mixed: bool = False


def parse(record: Record, node: str, sight: Sight) -> Found:
    """The workload in a running container; `record` is the answer of GET /containers/{id}/json."""
    labels = _labels(record)
    mode = network_mode(record)
    namespace, why_not = _namespace(mode, sight)
    ports, unread = _ports(record, labels, frozenset() if sight.mixed else sight.listening or frozenset())
    namespace_name = says.clean(labels.get("meshlite.namespace") or labels.get(PROJECT) or "default")
    exported, no_export = says.export_to(labels, namespace_name)
    hosts_file, no_names = _hosts_file(record)
    if is_one_off(record):
        ports = ()
    place, misplaced = says.locality(labels)
    limit, unlimited = says.rate_limit(labels)
    enabled, doubt = says.enable(labels)
    unheard = _unheard(ports, sight)
    reasons = [why_not, unheard, *unread, doubt, *says.complaints(labels), misplaced, unlimited, no_export]
    workload = Workload(
        id=f"{record['Id'][:12]}-{sight.started}",
        node=node,
        name=_name(record),
        service=service_name(record),
        namespace=namespace_name,
        version=labels.get("meshlite.version") or labels.get("version") or "",
        labels=says.of_workload(labels),
        ports=ports,
        addresses=_addresses(record, mode),
        aliases=_aliases(record),
        locality=place,
        export_to=exported,
        rate_limit=limit,
        health=_health(record, ports, sight),
        source="docker",
        reason="; ".join(filter(None, [*reasons, no_names if namespace else ""])),
    )
    return Found(
        workload=workload,
        namespace=namespace,
        hosts_file=hosts_file if namespace else "",
        project=labels.get(PROJECT, ""),
        enable=enabled,
        doubt=doubt,
        interfaces=_interfaces(record),
        bound=_bound(ports, sight.listening or frozenset()),
    )


def network_mode(record: Record) -> str:
    """`bridge`, a network's name, `host`, `none`, or `container:<id>` (Compose's `service:` becomes that)."""
    return str((record.get("HostConfig") or {}).get("NetworkMode") or "default")


def is_one_off(record: Record) -> bool:
    """Made by `docker compose run`: it calls others as its service, but nobody calls it.

    Unless it was run with --use-aliases, which asks to be reached as the service.
    """
    labels = _labels(record)
    return labels.get(ONE_OFF) == "True" and labels.get(SERVICE, "") not in set(_network_aliases(record))


def service_name(record: Record) -> str:
    labels = _labels(record)
    return says.clean(
        labels.get("meshlite.service") or labels.get("app") or labels.get(SERVICE) or _name(record)
    )


def stop_signal(record: Record) -> str:
    """The signal `docker stop` sends to this container, e.g. SIGTERM."""
    return str(_config(record).get("StopSignal") or "SIGTERM")


def declared_ports(record: Record) -> tuple[Port, ...]:
    """Ports that the image or Compose file exposes or publishes. UDP is not the mesh's."""
    exposed = _config(record).get("ExposedPorts") or {}
    published = (record.get("HostConfig") or {}).get("PortBindings") or {}
    keys = (key.partition("/") for key in [*exposed, *published])
    numbers = {int(number) for number, _, kind in keys if kind in ("tcp", "")}
    image = str(_config(record).get("Image", ""))
    return merged(of_number(number, "exposed", image) for number in numbers)


def _config(record: Record) -> Record:
    return dict(record.get("Config") or {})


def _labels(record: Record) -> dict[str, str]:
    return {str(key): str(value) for key, value in (_config(record).get("Labels") or {}).items()}


def _name(record: Record) -> str:
    return str(record.get("Name", "")).lstrip("/") or str(record["Id"][:12])


def _namespace(mode: str, sight: Sight) -> tuple[NetworkNamespace | None, str]:
    """The namespace to capture, or None and why not."""
    if mode == "host":
        return None, "uses the host's network (network_mode: host): its traffic cannot be told from others'"
    if mode == "none":
        return None, "has no network (network_mode: none)"
    if sight.namespace is None:
        return None, "its network namespace cannot be read"
    return sight.namespace, ""


def _unheard(ports: tuple[Port, ...], sight: Sight) -> str:
    if ports or not sight.mixed:
        return ""
    return (
        "shares the network of another container, and which open ports are its own cannot be told: "
        "declare them, as in meshlite.ports=http:8080"
    )


def _ports(
    record: Record, labels: dict[str, str], listening: Iterable[Listening]
) -> tuple[tuple[Port, ...], list[str]]:
    labelled, complaints = from_label(labels.get("meshlite.ports", ""))
    image = str(_config(record).get("Image", ""))
    open_now = {
        socket.port for socket in listening if not socket.loopback_only and socket.port not in EPHEMERAL
    }
    heard = [of_number(number, "listening", image) for number in open_now]
    return merged(labelled, declared_ports(record), heard), complaints


def _bound(ports: tuple[Port, ...], listening: frozenset[Listening]) -> dict[int, str]:
    """Ports reachable at one IPv4 address of the container only: link traffic must be sent there."""
    everywhere = {socket.port for socket in listening if socket.everywhere}
    numbers = {port.number for port in ports} - everywhere
    return {
        socket.port: socket.address
        for socket in sorted(listening, reverse=True)
        if socket.port in numbers and not socket.loopback_only and ":" not in socket.address
    }


def _networks(record: Record) -> list[Record]:
    networks = (record.get("NetworkSettings") or {}).get("Networks") or {}
    return [dict(network or {}) for _, network in sorted(networks.items())]


def _addresses(record: Record, mode: str) -> tuple[str, ...]:
    if mode == "host":
        return ("127.0.0.1",)
    keys = ("IPAddress", "GlobalIPv6Address")
    return tuple(str(network[key]) for network in _networks(record) for key in keys if network.get(key))


def _interfaces(record: Record) -> tuple[str, ...]:
    """`172.18.0.3/16`: who has an address in the same network can be reached from there."""
    keys = (("IPAddress", "IPPrefixLen"), ("GlobalIPv6Address", "GlobalIPv6PrefixLen"))
    return tuple(
        f"{network[address]}/{network[length]}"
        for network in _networks(record)
        for address, length in keys
        if network.get(address) and network.get(length)
    )


def _network_aliases(record: Record) -> list[str]:
    return [str(alias) for network in _networks(record) for alias in network.get("Aliases") or []]


def _aliases(record: Record) -> tuple[str, ...]:
    """Names that neighbours call it by, beside its service's. The engine lists the container's id too.

    They get into hosts files, so what is no host's name is none, and `localhost` stays everybody's own.
    """
    if is_one_off(record):
        return ()
    names = {*_network_aliases(record), _labels(record).get(SERVICE, ""), _name(record)}
    taken = {record["Id"], record["Id"][:12], "localhost"}
    return tuple(sorted(name for name in names - taken if _HOST_NAME.fullmatch(name)))


def _hosts_file(record: Record) -> tuple[str, str]:
    """The file behind /etc/hosts, or "" and why names cannot be written there."""
    mounts = record.get("Mounts") or []
    if any(mount.get("Destination") == "/etc/hosts" for mount in mounts):
        return "", "its /etc/hosts is mounted from outside, so names of the mesh are not written there"
    return str(record.get("HostsPath") or ""), ""


def _health(record: Record, ports: tuple[Port, ...], sight: Sight) -> Health:
    """Whether it should get traffic: not before its check or first port is up, nor while it ends."""
    state = record.get("State") or {}
    if sight.draining or state.get("Paused"):
        return "draining"
    checked = (state.get("Health") or {}).get("Status")
    if checked in ("starting", "unhealthy"):
        return "starting" if checked == "starting" else "unhealthy"
    if checked == "healthy" or sight.settled or sight.listening is None or not ports:
        return "healthy"
    listening = {socket.port for socket in sight.listening if not socket.loopback_only}
    return "healthy" if listening & {port.number for port in ports} else "starting"
