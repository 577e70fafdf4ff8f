"""Which workloads a resource is about; shared by networking, security, telemetry and extension resources."""

from __future__ import annotations

from meshlite.model.message import Message


class WorkloadSelector(Message):
    """All labels must match; no labels select every workload of the namespace."""

    match_labels: dict[str, str] = {}


class LabelSelector(Message):
    """Istio's other form of the same, in its networking API: all labels must match."""

    labels: dict[str, str] = {}


class PolicyTargetReference(Message):
    """A Gateway, GatewayClass, Service or ServiceEntry that a policy is attached to, in its own namespace.

    Source: https://istio.io/latest/docs/reference/config/type/workload-selector/#PolicyTargetReference
    """

    group: str = ""
    kind: str
    name: str
    namespace: str = ""
