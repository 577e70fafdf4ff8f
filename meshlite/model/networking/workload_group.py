"""WorkloadGroup: what WorkloadEntries of one kind have in common, and how their health is probed.

Source: https://istio.io/latest/docs/reference/config/networking/workload-group/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator

from meshlite.model.message import Message
from meshlite.model.networking.workload_entry import WorkloadEntry
from meshlite.model.scalars import Count, Port

Scheme = Annotated[Literal["HTTP", "HTTPS"], BeforeValidator(lambda value: value or "HTTP")]


class ObjectMeta(Message):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class HTTPHeader(Message):
    name: str = ""
    value: str = ""


class HTTPHealthCheckConfig(Message):
    """`host`: the address to connect to; empty: the workload's own."""

    path: str = ""
    port: Port
    host: str = ""
    scheme: Scheme = "HTTP"
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPHealthCheckConfig(Message):
    host: str = ""
    port: Port


class ExecHealthCheckConfig(Message):
    command: tuple[str, ...]


class GrpcHealthCheckConfig(Message):
    port: Port
    service: str = ""


class ReadinessProbe(Message):
    """Times in seconds; 0 is Istio's default: timeout 1, period 10, one success, three failures."""

    oneofs: ClassVar = (("http_get", "tcp_socket", "exec", "grpc"),)

    initial_delay_seconds: Count = 0
    timeout_seconds: Count = 0
    period_seconds: Count = 0
    success_threshold: Count = 0
    failure_threshold: Count = 0
    http_get: HTTPHealthCheckConfig | None = None
    tcp_socket: TCPHealthCheckConfig | None = None
    exec: ExecHealthCheckConfig | None = None
    grpc: GrpcHealthCheckConfig | None = None


class WorkloadGroup(Message):
    """`template`: each entry's own address and labels are added to it."""

    metadata: ObjectMeta | None = None
    template: WorkloadEntry
    probe: ReadinessProbe | None = None
