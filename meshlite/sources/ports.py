"""What a workload's ports speak: its own label first, then what is known of port and image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import get_args

from meshlite.model.workload import Port, PortOrigin, Protocol

WELL_KNOWN: dict[int, Protocol] = {
    21: "tcp",
    22: "tcp",
    25: "tcp",
    110: "tcp",
    143: "tcp",
    465: "tls",
    587: "tcp",
    993: "tls",
    995: "tls",
    1433: "tcp",
    1521: "tcp",
    1883: "tcp",
    2181: "tcp",
    3306: "mysql",
    3389: "tcp",
    4222: "tcp",
    5432: "tcp",
    5672: "tcp",
    5900: "tcp",
    6379: "redis",
    9042: "tcp",
    9092: "tcp",
    11211: "tcp",
    27017: "mongo",
    33060: "tcp",
}
"""Ports that are never sniffed: the server speaks first, or sniffing does not know the protocol."""

OPAQUE_IMAGES: dict[str, Protocol] = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "percona": "mysql",
    "postgres": "tcp",
    "postgresql": "tcp",
    "postgis": "tcp",
    "timescaledb": "tcp",
    "redis": "redis",
    "valkey": "redis",
    "mongo": "mongo",
    "mongodb": "mongo",
    "memcached": "tcp",
    "nats": "tcp",
    "zookeeper": "tcp",
    "kafka": "tcp",
    "cassandra": "tcp",
    "mosquitto": "tcp",
}
"""Images whose other ports are taken for the same kind of server, e.g. a MySQL moved to 3307."""

_PROTOCOLS = frozenset(get_args(Protocol))
_ITEM = re.compile(r"(?:(?P<name>[a-z0-9-]+):)?(?P<number>\d{1,5})")


def from_label(text: str) -> tuple[list[Port], list[str]]:
    """`http:9080,tcp-metrics:9100,8080` -> ports, and a sentence for each item that makes no sense.

    The word before the colon is a port name as Istio has it: a protocol, or `<protocol>-<anything>`.
    """
    ports: list[Port] = []
    complaints: list[str] = []
    for item in filter(None, (part.strip().lower() for part in text.split(","))):
        try:
            ports.append(_from_item(item))
        except ValueError as error:
            complaints.append(f"label meshlite.ports: {item!r}: {error}")
    return ports, complaints


def _from_item(item: str) -> Port:
    match = _ITEM.fullmatch(item)
    if match is None or not 1 <= int(match["number"]) <= 65535:
        raise ValueError("expected <protocol>:<port>, for instance http:9080")
    name = match["name"] or ""
    protocol = protocol_of_name(name) if name else "auto"
    if protocol is None:
        raise ValueError(f"{name!r} is no protocol; use one of {', '.join(sorted(_PROTOCOLS))}")
    return Port(number=int(match["number"]), protocol=protocol, name=name, origin="label")


def protocol_of_name(name: str) -> Protocol | None:
    """The protocol in a port name by Istio's convention; None where it has none.

    Source: https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/
    """
    if name.startswith("grpc-web"):
        return "grpc-web"
    first = name.partition("-")[0]
    return next((protocol for protocol in get_args(Protocol) if protocol == first), None)


def of_number(number: int, origin: PortOrigin, image: str = "") -> Port:
    """A port of which only the number is known, and perhaps the image that serves it."""
    if known := WELL_KNOWN.get(number):
        return Port(number=number, protocol=known, origin="image")
    if known := OPAQUE_IMAGES.get(_base_name(image)):
        return Port(number=number, protocol=known, origin="image")
    return Port(number=number, protocol="auto", origin=origin)


def merged(*groups: Iterable[Port]) -> tuple[Port, ...]:
    """All ports by number; the earlier group's word counts."""
    ports: dict[int, Port] = {}
    for group in groups:
        for port in group:
            ports.setdefault(port.number, port)
    return tuple(ports[number] for number in sorted(ports))


def _base_name(image: str) -> str:
    """`registry:5000/bitnami/redis:7@sha256:…` -> `redis`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]
