"""Labels, selectors and metadata, which every resource has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.made import PARENTS, SEMANTICS
from meshlite.model.mesh import Resource
from meshlite.model.rules import forms
from meshlite.model.selector import LabelSelector, WorkloadSelector

DRY_RUN = "istio.io/dry-run"
"""Annotation of an AuthorizationPolicy that is to be logged, not enforced."""

_FORBIDDEN = (PARENTS, SEMANTICS, "internal.istio.io/parent-namespace")


def metadata(resource: Resource) -> Iterator[Fault]:
    """Names, labels and annotations."""
    at: Path = ("metadata",)
    if reason := forms.object_name(resource.name):
        yield Fault((*at, "name"), reason)
    if reason := forms.namespace(resource.namespace):
        yield Fault((*at, "namespace"), reason)
    yield from labels(resource.labels, (*at, "labels"))
    for key in resource.annotations:
        if reason := forms.label_key(key):
            yield Fault((*at, "annotations", key), reason.replace("label", "annotation"))
        if key in _FORBIDDEN or (key == DRY_RUN and resource.kind != "AuthorizationPolicy"):
            yield Fault((*at, "annotations", key), f"this annotation is not for a {resource.kind}: remove it")


def labels(values: Mapping[str, str], at: Path) -> Iterator[Fault]:
    for key, value in values.items():
        if reason := forms.label_key(key) or forms.label_value(value):
            yield Fault((*at, key), reason)


def selector(chosen: WorkloadSelector | None, at: Path) -> Iterator[Fault]:
    """Wildcards select nothing; a selector without labels is accepted and rarely meant."""
    if chosen is not None:
        yield from _selection(chosen.match_labels, at, "matchLabels")


def selected(chosen: LabelSelector | None, at: Path) -> Iterator[Fault]:
    """The same of Istio's other form, whose labels stand in `labels`."""
    if chosen is not None:
        yield from _selection(chosen.labels, at, "labels")


def _selection(wanted: Mapping[str, str], at: Path, field: str) -> Iterator[Fault]:
    for key, value in wanted.items():
        if "*" in key or "*" in value:
            yield Fault((*at, field, key), "a selector takes no wildcard")
        elif reason := forms.label_key(key) or forms.label_value(value):
            yield Fault((*at, field, key), reason)
    if not wanted:
        yield Fault(at, "a selector without labels selects every workload", warning=True)
