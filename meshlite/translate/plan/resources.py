"""Istio's resources of a snapshot as typed values, first applied first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
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

    @cached_property
    def key(self) -> str:
        return self.resource.key

    @property
    def written(self) -> str:
        """The key that people know: its own, or of what it was made from."""
        return ", ".join(made_from(self.resource.annotations)) or self.key

    @property
    def namespace(self) -> str:
        return self.resource.namespace


@dataclass(frozen=True)
class Read:
    """Resources by key in order of application."""

    by_key: Mapping[str, Applied[Message]]

    @cached_property
    def by_spec(self) -> Mapping[type[Message], tuple[Applied[Message], ...]]:
        found: dict[type[Message], list[Applied[Message]]] = {}
        for applied in self.by_key.values():
            found.setdefault(type(applied.spec), []).append(applied)
        return {spec: tuple(ones) for spec, ones in found.items()}


def read(memo: Memo, resources: tuple[Resource, ...]) -> tuple[Read, Told]:
    """All of a snapshot's. One that cannot be read is told of and left out."""
    keyed = [(resource.sequence, resource.key, resource) for resource in resources]
    ordered = {key: resource for _, key, resource in sorted(keyed, key=itemgetter(0, 1))}
    return memo.of("read", _readable, memo.each("applied", _applied, ordered))


def _readable(found: Mapping[str, Applied[Message] | str]) -> tuple[Read, Told]:
    told = ((key, one) for key, one in found.items() if isinstance(one, str))
    return (
        Read({key: one for key, one in found.items() if not isinstance(one, str)}),
        tuple((key, f"{reason}; the resource has no effect") for key, reason in told),
    )


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
    return cast("tuple[Applied[T], ...]", resources.by_spec.get(spec, ()))


def visible(export_to: tuple[str, ...], owner: str, namespace: str) -> bool:
    """Whether a resource of namespace `owner` may be used by callers in `namespace`; by default by all."""
    return visibility.visible(export_to, owner, namespace)


def private(export_to: tuple[str, ...], owner: str) -> bool:
    return bool(export_to) and all(name == "." or canonical_namespace(name) == owner for name in export_to)
