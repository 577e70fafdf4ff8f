"""Is a resource good? Types and fields, Istio's rules, and what this version lacks. Pure; needs no mesh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from meshlite.model.faults import Fault, faults_of, rejection
from meshlite.model.kinds import Kind, named
from meshlite.model.mesh import Resource
from meshlite.model.message import Message
from meshlite.model.rules.labels import metadata
from meshlite.model.support import gaps
from meshlite.model.wire import Document, Rejection

Spec = TypeVar("Spec", bound=Message)

_WITHOUT_EFFECT = "{} is checked but not enforced by this version of meshlite yet: apply refuses it"


class Verdict(NamedTuple):
    """A resource may be applied when there are no rejections; warnings are `file:line: field: sentence`."""

    warnings: tuple[str, ...]
    rejections: tuple[Rejection, ...]


def validate(document: Document, to_apply: bool = False) -> Verdict:
    """Everything that is wrong with one resource by itself. Never raises.

    `to_apply`: a kind without effect in this version is rejected; else it is only warned of.
    """
    warnings: list[str] = []
    rejections: list[Rejection] = []
    for fault in faults(document.resource, to_apply):
        found = rejection(document, fault)
        if fault.warning:
            warnings.append(": ".join(part for part in (found.where, found.field, found.reason) if part))
        else:
            rejections.append(found)
    return Verdict(tuple(warnings), tuple(rejections))


def faults(resource: Resource, to_apply: bool = False) -> Iterator[Fault]:
    """Istio's verdict first; if there is none, what this version lacks."""
    return iter(read(resource, to_apply)[1])


def read(resource: Resource, to_apply: bool = False) -> tuple[Message | None, tuple[Fault, ...]]:
    """The typed spec, None where it cannot be read, and its `faults`."""
    kind = named(resource.api_version, resource.kind)
    if not isinstance(kind, Kind):
        return None, (Fault(("kind",), kind),)
    spec, found = _judged(kind, resource)
    if spec is not None and all(fault.warning for fault in found):
        found += _lacking(kind, spec, to_apply)
    return spec, tuple(found)


def lacking(kind: Kind, resource: Resource, to_apply: bool = False) -> Iterator[Fault]:
    """What a resource that is good for Istio asks of this version in vain."""
    if kind.spec is not None:
        yield from _lacking(kind, kind.spec.model_validate(resource.spec), to_apply)


def _lacking(kind: Kind, spec: Message, to_apply: bool) -> Iterator[Fault]:
    if not kind.enforced:
        yield Fault(("kind",), _WITHOUT_EFFECT.format(kind.name), warning=not to_apply)
    yield from gaps(kind.key, spec)


def verdict(kind: Kind, resource: Resource) -> Iterator[Fault]:
    """What Istio itself would say about the resource."""
    return iter(_judged(kind, resource)[1])


def _judged(kind: Kind, resource: Resource) -> tuple[Message | None, list[Fault]]:
    found = list(metadata(resource))
    if kind.spec is None:
        return None, found
    try:
        spec = kind.spec.model_validate(resource.spec)
    except ValidationError as error:
        return None, [*found, *faults_of(error, kind.spec, ("spec",))]
    return spec, [*found, *(kind.rules(spec, resource) if kind.rules is not None else ())]


def parse(resource: Resource, model: type[Spec]) -> Spec:
    """The typed spec of a resource that passed `validate`; raises ValidationError for any other."""
    return model.model_validate(resource.spec)
