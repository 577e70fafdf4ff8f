"""Istio's resources of a snapshot as typed values, first applied first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Generic, TypeVar, cast

from meshlite.model import visibility
from meshlite.model.faults import field
from meshlite.model.made import made_from
from meshlite.model.mesh import Resource
from meshlite.model.message import Message
from meshlite.model.names import canonical_namespace
from meshlite.model.validate import read as read_spec
from meshlite.translate.memo import Memo

T = TypeVar("T", bound=Message)

Report = Callable[[str, str], None]
"""Takes a resource's key and what is wrong with it, as a sentence."""

Told = tuple[tuple[str, str], ...]
"""What a remembered stage would report: it says so each time, also when it is not run again."""


def tell(told: Told, report: Report) -> None:
    for resource, reason in told:
        report(resource, reason)


@dataclass(frozen=True)
class Applied(Generic[T]):
    """A resource with its typed spec."""

    resource: Resource
    spec: T

    @property
    def key(self) -> str:
        return self.resource.key

    @property
    def written(self) -> str:
        """The key that people know: its own, or of what it was made from."""
        return ", ".join(made_from(self.resource.annotations)) or self.key

    @property
    def namespace(self) -> str:
        return self.resource.namespace


Read = Mapping[str, Applied[Message]]
"""Resources by key in order of application."""


def read(memo: Memo, resources: tuple[Resource, ...]) -> tuple[Read, Told]:
    """All of a snapshot's. One that cannot be read is told of and left out."""
    read: dict[str, Applied[Message]] = {}
    told: list[tuple[str, str]] = []
    keyed = [(resource.sequence, resource.key, resource) for resource in resources]
    for _, key, resource in sorted(keyed, key=itemgetter(0, 1)):
        found = memo.of(key, _applied, resource)
        if isinstance(found, str):
            told.append((key, f"{found}; the resource has no effect"))
        else:
            read[key] = found
    return read, tuple(told)


def _applied(resource: Resource) -> Applied[Message] | str:
    """The typed spec, or what is wrong. Resources are judged when stored, but maybe by an older version.

    What is made from others is good if those are, and need not keep to the rules for names and the like.
    """
    spec, faults = read_spec(resource)
    fault = next((fault for fault in faults if not fault.warning), None)
    if fault is not None and not (spec is not None and made_from(resource.annotations)):
        return f"{field(fault.path)} {fault.reason}"
    return Applied(resource, spec) if spec is not None else "it cannot be read"


def of_kind(resources: Read, spec: type[T]) -> tuple[Applied[T], ...]:
    return tuple(
        cast("Applied[T]", applied) for applied in resources.values() if isinstance(applied.spec, spec)
    )


def visible(export_to: tuple[str, ...], owner: str, namespace: str) -> bool:
    """Whether a resource of namespace `owner` may be used by callers in `namespace`; by default by all."""
    return visibility.visible(export_to, owner, namespace)


def private(export_to: tuple[str, ...], owner: str) -> bool:
    return bool(export_to) and all(name == "." or canonical_namespace(name) == owner for name in export_to)
