"""Sidecar: what workloads may call, and how they are reached.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/
"""

from __future__ import annotations

from typing import Annotated, Literal

from meshlite.model.message import Message
from meshlite.model.networking.destination import Destination
from meshlite.model.networking.destination_rule import ConnectionPoolSettings
from meshlite.model.networking.gateway import ServerTLSSettings
from meshlite.model.scalars import PortOrAny, UInt32, by_number
from meshlite.model.selector import LabelSelector

_CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]
_OutboundMode = Literal["REGISTRY_ONLY", "ALLOW_ANY"]
CaptureMode = Annotated[_CaptureMode, by_number(_CaptureMode)]
OutboundMode = Annotated[_OutboundMode, by_number(_OutboundMode)]


class SidecarPort(Message):
    """`number` 0 is for Unix sockets."""

    number: PortOrAny = 0
    protocol: str = ""
    name: str = ""
    target_port: UInt32 = 0


class IstioIngressListener(Message):
    """`default_endpoint`: where the app listens; absent, the workload's own address and the same port."""

    port: SidecarPort
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"
    default_endpoint: str = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


class IstioEgressListener(Message):
    """`hosts`: `namespace/name`; a namespace may be `*`, `.` or `~`, and `~namespace` takes away again.

    With a `port` it is about that port alone; the one without is for all others.
    """

    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"
    hosts: tuple[str, ...]


class OutboundTrafficPolicy(Message):
    """What becomes of calls to what the mesh does not know. The block by itself means REGISTRY_ONLY."""

    mode: OutboundMode = "REGISTRY_ONLY"
    egress_proxy: Destination | None = None


class Sidecar(Message):
    """For the workloads selected, else for all of its namespace; in the root namespace for all namespaces.

    One applies to a workload: nothing is merged.
    """

    workload_selector: LabelSelector | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
