"""Which workloads a resource is about; shared by networking and security resources."""

from __future__ import annotations

from meshlite.model.message import Message


class WorkloadSelector(Message):
    """All labels must match; no labels select every workload of the namespace."""

    match_labels: dict[str, str] = {}


class LabelSelector(Message):
    """Istio's other form of the same, in its networking API: all labels must match."""

    labels: dict[str, str] = {}
