"""Istio's resources of a snapshot as typed values, first applied first; those of the last time are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from meshlite.model.faults import field
from meshlite.model.kinds import KINDS
from meshlite.model.mesh import Resource, Snapshot
from meshlite.model.message import Message
from meshlite.model.validate import faults, parse

_SPECS = {kind.name: kind.spec for kind in KINDS if kind.spec is not None}

T = TypeVar("T", bound=Message)

Report = Callable[[str, str], None]
"""Takes a resource's key and what is wrong with it, as a sentence."""


@dataclass(frozen=True)
class Applied(Generic[T]):
    """A resource with its typed spec."""

    resource: Resource
    spec: T

    @property
    def key(self) -> str:
        return self.resource.key

    @property
    def namespace(self) -> str:
        return self.resource.namespace


Memory = Mapping[str, Applied[Message]]


def read(snapshot: Snapshot, known: Memory, report: Report) -> Memory:
    """Resources by key in order of application. One that cannot be read is reported and left out."""
    read: dict[str, Applied[Message]] = {}
    for resource in sorted(snapshot.resources, key=lambda resource: (resource.sequence, resource.key)):
        last = known.get(resource.key)
        if last is not None and last.resource == resource:
            read[resource.key] = last
            continue
        parsed = _parse(resource)
        if isinstance(parsed, str):
            report(resource.key, f"{parsed}; the resource has no effect")
        else:
            read[resource.key] = Applied(resource, parsed)
    return read


def _parse(resource: Resource) -> Message | str:
    """The typed spec, or what is wrong. Resources are judged when stored, but maybe by an older version."""
    fault = next((fault for fault in faults(resource) if not fault.warning), None)
    if fault is not None:
        return f"{field(fault.path)} {fault.reason}"
    return parse(resource, _SPECS[resource.kind])


def of_kind(resources: Memory, spec: type[T]) -> tuple[Applied[T], ...]:
    return tuple(
        Applied(applied.resource, applied.spec)
        for applied in resources.values()
        if isinstance(applied.spec, spec)
    )


def visible(export_to: tuple[str, ...], owner: str, namespace: str) -> bool:
    """Whether a resource of namespace `owner` may be used by callers in `namespace`; by default by all."""
    return (
        not export_to
        or "*" in export_to
        or namespace in export_to
        or (owner == namespace and "." in export_to)
    )


def private(export_to: tuple[str, ...], owner: str) -> bool:
    return bool(export_to) and all(name in (".", owner) for name in export_to)
