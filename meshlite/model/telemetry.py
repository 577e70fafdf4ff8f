"""Telemetry: what is traced, counted and logged of a workload's traffic.

Source: https://istio.io/latest/docs/reference/config/telemetry/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from meshlite.model.message import Message
from meshlite.model.scalars import Bool, Percentage, PositiveDuration, by_number
from meshlite.model.selector import PolicyTargetReference, WorkloadSelector

_WorkloadMode = Literal["CLIENT_AND_SERVER", "CLIENT", "SERVER"]
_IstioMetric = Literal[
    "ALL_METRICS",
    "REQUEST_COUNT",
    "REQUEST_DURATION",
    "REQUEST_SIZE",
    "RESPONSE_SIZE",
    "TCP_OPENED_CONNECTIONS",
    "TCP_CLOSED_CONNECTIONS",
    "TCP_SENT_BYTES",
    "TCP_RECEIVED_BYTES",
    "GRPC_REQUEST_MESSAGES",
    "GRPC_RESPONSE_MESSAGES",
]
_Operation = Literal["UPSERT", "REMOVE"]
WorkloadMode = Annotated[_WorkloadMode, by_number(_WorkloadMode)]
IstioMetric = Annotated[_IstioMetric, by_number(_IstioMetric)]
TagOperation = Annotated[_Operation, by_number(_Operation)]


class ProviderRef(Message):
    """A provider of the mesh's settings, by name."""

    name: str


class ModeSelector(Message):
    """On which side of a hop: Istio's TracingSelector and LogSelector."""

    mode: WorkloadMode = "CLIENT_AND_SERVER"


class LiteralTag(Message):
    value: str


class EnvironmentTag(Message):
    name: str
    default_value: str = ""


class HeaderTag(Message):
    name: str
    default_value: str = ""


class FormatterTag(Message):
    """Envoy's access log format, e.g. `%REQ(x-user)%`."""

    value: str


class CustomTag(Message):
    oneofs: ClassVar = (("literal", "environment", "header", "formatter"),)

    literal: LiteralTag | None = None
    environment: EnvironmentTag | None = None
    header: HeaderTag | None = None
    formatter: FormatterTag | None = None


class Tracing(Message):
    """Absent fields inherit from the namespace's Telemetry, the mesh's, the mesh's settings."""

    match: ModeSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    random_sampling_percentage: Percentage | None = None
    disable_span_reporting: Bool | None = None
    custom_tags: dict[str, CustomTag] = {}
    use_request_id_for_trace_sampling: Bool | None = None
    enable_istio_tags: Bool | None = None
    disable_context_propagation: Bool | None = None


class MetricSelector(Message):
    """Neither `metric` nor `custom_metric`: all metrics."""

    oneofs: ClassVar = (("metric", "custom_metric"),)

    metric: IstioMetric | None = None
    custom_metric: str | None = None
    mode: WorkloadMode = "CLIENT_AND_SERVER"


class TagOverride(Message):
    """`value`: a CEL expression, for UPSERT."""

    operation: TagOperation = "UPSERT"
    value: str | None = None


class MetricsOverrides(Message):
    match: MetricSelector | None = None
    disabled: Bool | None = None
    tag_overrides: dict[str, TagOverride] = {}


class Metrics(Message):
    """Of several overrides that match, the last wins."""

    providers: tuple[ProviderRef, ...] = ()
    overrides: tuple[MetricsOverrides, ...] = ()
    reporting_interval: PositiveDuration | None = None


class Filter(Message):
    """A CEL expression over Envoy's attributes; what it is true for is logged."""

    expression: str = ""


class AccessLogging(Message):
    match: ModeSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    disabled: Bool | None = None
    filter: Filter | None = None


class Telemetry(Message):
    """Without a selector it is for its namespace; in the root namespace, for the mesh."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], Field(max_length=16)] = ()
    tracing: tuple[Tracing, ...] = ()
    metrics: tuple[Metrics, ...] = ()
    access_logging: tuple[AccessLogging, ...] = ()
