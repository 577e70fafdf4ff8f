"""ServiceEntry: a service that the mesh does not find by itself: its names, addresses, ports and endpoints.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.message import Message
from meshlite.model.networking.workload_entry import WorkloadEntry
from meshlite.model.scalars import Port, PortOrAny, by_number
from meshlite.model.selector import LabelSelector

_Location = Literal["MESH_EXTERNAL", "MESH_INTERNAL"]
_Resolution = Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]
Location = Annotated[_Location, by_number(_Location)]
Resolution = Annotated[_Resolution, by_number(_Resolution)]


class ServicePort(Message):
    """`protocol` empty: to be detected. `target_port` 0: the endpoints listen on `number`, too."""

    number: Port
    protocol: str = ""
    name: str
    target_port: PortOrAny = 0


class ServiceEntry(Message):
    """`resolution` is how endpoints are found.

    NONE: where the caller dialled. STATIC: `endpoints`, or workloads that `workload_selector` selects. DNS:
    the addresses of the names of endpoints, or of hosts; DNS_ROUND_ROBIN: the first of them. DYNAMIC_DNS: the
    address of whatever name a request has.
    """

    hosts: Annotated[tuple[str, ...], Field(max_length=256)]
    addresses: Annotated[tuple[str, ...], Field(max_length=256)] = ()
    ports: Annotated[tuple[ServicePort, ...], Field(max_length=256)] = ()
    location: Location = "MESH_EXTERNAL"
    resolution: Resolution = "NONE"
    endpoints: Annotated[tuple[WorkloadEntry, ...], Field(max_length=4096)] = ()
    workload_selector: LabelSelector | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
