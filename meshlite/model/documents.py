"""Text -> resources with line numbers, and what is wrong with the rest. Values are checked by `validate`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from meshlite.model import foreign, kinds
from meshlite.model.faults import Fault, faults_of, field, suggest
from meshlite.model.located import Located, Malformed, Path, load
from meshlite.model.mesh import Resource
from meshlite.model.message import Message, camel
from meshlite.model.names import ROOT_NAMESPACE, canonical_namespace
from meshlite.model.scalars import shown
from meshlite.model.wire import Document, Rejection

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")


class Metadata(Message):
    """Kubernetes' object metadata. What its API server adds is dropped, so that an export can be applied."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    uid: object = None
    generation: object = None
    self_link: object = None
    finalizers: object = None
    managed_fields: object = None
    resource_version: object = None
    owner_references: object = None
    creation_timestamp: object = None
    deletion_timestamp: object = None
    deletion_grace_period_seconds: object = None


class Reading(NamedTuple):
    """`warnings` are documents passed over, each `file:line: sentence`."""

    documents: tuple[Document, ...]
    rejections: tuple[Rejection, ...]
    warnings: tuple[str, ...]


def read(text: str, file: str = "-", namespace: str = "default") -> Reading:
    """Every resource in YAML or JSON text; those that name no namespace get `namespace`.

    Kubernetes' own objects are passed over, lists are opened, empty documents do not count. Never raises.
    """
    found: list[Document | Rejection | str] = []
    for item in load(text):
        if isinstance(item, Malformed):
            found.append(_malformed(item, file))
        elif item.value is not None:
            for part in objects(item):
                found += _document(part, file, namespace)
    return Reading(
        tuple(item for item in found if isinstance(item, Document)),
        tuple(item for item in found if isinstance(item, Rejection)),
        tuple(item for item in found if isinstance(item, str)),
    )


def _malformed(item: Malformed, file: str) -> Rejection:
    return Rejection(resource="", where=f"{file}:{item.line}", reason=f"column {item.column}: {item.reason}")


def objects(item: Located) -> Iterator[Located]:
    """The document itself, or what a List holds."""
    value = item.value
    if not (
        isinstance(value, dict) and isinstance(value.get("items"), list) and "List" in str(value.get("kind"))
    ):
        yield item
        return
    lines: dict[str | int, dict[Path, int]] = {}
    for path, line in item.lines.items():
        if len(path) > 1 and path[0] == "items":
            lines.setdefault(path[1], {})[path[2:]] = line
    for place, part in enumerate(value["items"]):
        yield from objects(Located(part, lines[place][()], lines[place]))


def _line(item: Located, path: Path) -> int:
    """The line of `path`, or of what holds it, for a field that is missing."""
    while path and path not in item.lines:
        path = path[:-1]
    return item.lines.get(path, item.line)


def _lines(item: Located) -> dict[str, int]:
    """By field path as users read it; what was written in snake_case is found in camelCase, too."""
    lines = {field(path): line for path, line in item.lines.items()}
    for path, line in item.lines.items():
        lines.setdefault(field(tuple(camel(part) if isinstance(part, str) else part for part in path)), line)
    return lines


def _document(item: Located, file: str, namespace: str) -> Iterator[Document | Rejection | str]:
    where = f"{file}:{item.line}"
    value = item.value
    if not isinstance(value, dict):
        yield Rejection(resource="", where=where, reason=f"a resource must be a mapping, not {shown(value)}")
        return
    kind = _kind(value)
    if isinstance(kind, _Skip):
        yield f"{where}: {kind.reason}: skipped"
        return
    resource = [kind] if isinstance(kind, Fault) else _resource(value, kind, namespace)
    if isinstance(resource, Resource):
        yield Document(resource=resource, location=where, lines=_lines(item))
        return
    for fault in resource:
        place = f"{file}:{_line(item, fault.path)}"
        name = _title(value, namespace)
        yield Rejection(resource=name, where=place, field=field(fault.path), reason=fault.reason)


def _resource(value: dict[str, object], kind: kinds.Kind, namespace: str) -> Resource | list[Fault]:
    faults = list(_envelope_faults(value))
    try:
        metadata = Metadata.model_validate(value.get("metadata") or {})
    except ValidationError as error:
        return [*faults, *faults_of(error, Metadata, ("metadata",))]
    if faults:
        return faults
    spec = value.get("spec")
    return Resource(
        api_version=str(value["apiVersion"]),
        kind=kind.name,
        name=metadata.name,
        namespace=_namespace(kind, metadata, namespace),
        labels=metadata.labels,
        annotations=metadata.annotations,
        spec=spec if isinstance(spec, dict) else {},
    )


def _namespace(kind: kinds.Kind, metadata: Metadata, namespace: str) -> str:
    return ROOT_NAMESPACE if kind.cluster_wide else canonical_namespace(metadata.namespace or namespace)


UNKNOWN = "?"
"""In the place of a part of a key that is not known."""


@dataclass(frozen=True)
class _Skip:
    reason: str


def _kind(value: dict[str, object]) -> kinds.Kind | _Skip | Fault:
    api_version, name = value.get("apiVersion"), value.get("kind")
    for key, given in (("apiVersion", api_version), ("kind", name)):
        if not isinstance(given, str) or not given:
            return Fault(
                (key,), "is required" if given in (None, "") else f"must be a string, not {shown(given)}"
            )
    api_version, name = str(api_version), str(name)
    group = api_version.rpartition("/")[0]
    if group in {kind.group for kind in kinds.KINDS}:
        kind = kinds.named(api_version, name)
        return kind if isinstance(kind, kinds.Kind) else Fault(("kind",), kind)
    reason = foreign.skipped(group, name)
    near = kinds.near(name)
    if reason and near:
        meant = f"apiVersion: {near.api_version}, kind: {near.name}"
        return Fault(("kind",), f"{api_version} has no kind {name}; did you mean {meant}?")
    return _Skip(reason) if reason else Fault(("kind",), foreign.refused(group, name))


def _envelope_faults(value: dict[str, object]) -> Iterator[Fault]:
    for key in value:
        if key not in _TOP:
            yield Fault((key,), f"unknown field{suggest(key, _TOP)}; known here: {', '.join(_TOP)}")
    spec = value.get("spec")
    if spec is not None and not isinstance(spec, dict):
        yield Fault(("spec",), f"must be a mapping, not {shown(spec)}")


def _title(value: dict[str, object], namespace: str) -> str:
    """Kind, namespace and name, as in the key of a resource that can be read; ? for what is not known."""
    metadata = value.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    space = canonical_namespace(str(given.get("namespace") or namespace))
    parts = (value.get("kind"), space, given.get("name"))
    return "/".join(re.sub(r"\s+", " ", str(part or UNKNOWN))[:80] for part in parts)
