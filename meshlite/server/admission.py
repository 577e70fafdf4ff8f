"""Which documents may be stored: each by itself, and all together against the mesh as it is. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from meshlite.model import external
from meshlite.model.analysis.analyze import conflicts, unattached
from meshlite.model.analysis.stage import Kept, of_mesh
from meshlite.model.dangling import dangling, subsets_of
from meshlite.model.mesh import Resource, Snapshot
from meshlite.model.names import canonical_namespace, gateway_hosts
from meshlite.model.networking import DestinationRule, EnvoyFilter
from meshlite.model.validate import parse, validate
from meshlite.model.visibility import visible
from meshlite.model.wire import ApplyRequest, Document, Rejection
from meshlite.translate.plan.confinement import objections

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_DECLARING = frozenset({"DestinationRule", "ServiceEntry"})
"""Kinds that declare hosts or subsets."""
_KIND = re.compile(r"[A-Z][A-Za-z]{0,62}")


@dataclass(frozen=True)
class Admitted:
    """A document as it will be stored, and what to tell its author."""

    resource: Resource
    warnings: tuple[str, ...]


Admission = Callable[[ApplyRequest, Snapshot], tuple[tuple[Admitted, ...], tuple[Rejection, ...]]]


def admission() -> Admission:
    """`admit`, which remembers what it has read of the resources that are stored."""
    return partial(admit, kept=Kept())


def admit(
    request: ApplyRequest, snapshot: Snapshot, kept: Kept | None = None
) -> tuple[tuple[Admitted, ...], tuple[Rejection, ...]]:
    """All documents in order, or why some cannot be: with any rejection nothing may be stored."""
    kept = kept or Kept()
    kept.tidy(snapshot.resources)
    documents = [_canonical(document) for document in request.documents]
    rejections = [*_misnamed(documents), *_repeated(documents)]
    admitted: list[Admitted] = []
    for document in documents:
        warnings, rejected = validate(document, to_apply=True)
        admitted.append(Admitted(document.resource, tuple(warnings)))
        rejections += rejected or _unconfined(document, snapshot.settings.envoy_filter == "trusted")
    rejections += _taken(documents, snapshot)
    if not rejections and not request.allow_missing_hosts:
        rejections += _dangling(documents, snapshot, kept)
    if not rejections:
        admitted = _warned(admitted, documents, snapshot, kept)
    return tuple(admitted), tuple(rejections)


def _warned(
    admitted: Sequence[Admitted], documents: Sequence[Document], snapshot: Snapshot, kept: Kept
) -> list[Admitted]:
    """With a warning where another resource has the same thing, since the first applied wins, silently else;
    and where it is attached to what is not there.
    """
    told: dict[str, list[str]] = {}
    kinds = {document.resource.kind for document in documents}
    scene = of_mesh(snapshot, documents, kept)
    for message in (*conflicts(scene, kinds), *unattached(scene, kinds)):
        place = ": ".join(part for part in (message.where, message.field) if part)
        told.setdefault(message.resource, []).append(f"{place}: {message.message} ({message.code})")
    return [Admitted(one.resource, (*one.warnings, *told.get(one.resource.key, ()))) for one in admitted]


def _canonical(document: Document) -> Document:
    namespace = canonical_namespace(document.resource.namespace)
    resource = document.resource.model_copy(update={"namespace": namespace, "status": {}})
    return document.model_copy(update={"resource": resource})


def _misnamed(documents: Sequence[Document]) -> list[Rejection]:
    """Names become keys and parts of host names, so their form is fixed."""
    forms = (("kind", _KIND), ("metadata.namespace", _NAMESPACE), ("metadata.name", _NAME))
    rejections = []
    for document in documents:
        resource = document.resource
        for (field, form), text in zip(
            forms, (resource.kind, resource.namespace, resource.name), strict=True
        ):
            if not form.fullmatch(text):
                reason = f"{text!r} is not allowed: small letters, digits and dashes"
                rejections.append(_rejection(document, field, reason))
    return rejections


def _repeated(documents: Sequence[Document]) -> list[Rejection]:
    first: dict[str, Document] = {}
    rejections = []
    for document in documents:
        other = first.setdefault(document.resource.key, document)
        if other is not document:
            where = f" ({other.location})" if other.location else ""
            rejections.append(_rejection(document, "metadata.name", f"given twice in one request{where}"))
    return rejections


def _taken(documents: Sequence[Document], snapshot: Snapshot) -> list[Rejection]:
    """Addresses that the mesh itself has given to others: calls to these must not go elsewhere."""
    owners = {one.address: one.fqdn for one in snapshot.services}
    owners |= {one.address: one.host for one in snapshot.hosts}
    rejections = []
    for document in documents:
        written = (
            document.resource.spec.get("addresses") if document.resource.kind == "ServiceEntry" else None
        )
        for place, address in enumerate(written if isinstance(written, list) else ()):
            owner = owners.get(str(address).removesuffix("/32"))
            if owner and owner not in _hosts(document):
                reason = f"{address} is the virtual address of {owner}: leave it out, or choose another"
                rejections.append(_rejection(document, f"spec.addresses[{place}]", reason))
    return rejections


def _hosts(document: Document) -> Collection[object]:
    written = document.resource.spec.get("hosts")
    return written if isinstance(written, list) else ()


def _unconfined(document: Document, trusted: bool) -> list[Rejection]:
    """Patches that reach further than users may."""
    if document.resource.kind != "EnvoyFilter":
        return []
    found = objections(parse(document.resource, EnvoyFilter), trusted)
    return [_rejection(document, f"spec.configPatches[{place}]", why) for place, why in found]


def _dangling(documents: Sequence[Document], snapshot: Snapshot, kept: Kept) -> list[Rejection]:
    """Hosts and subsets that neither the mesh nor the request itself has, in whatever order it names them."""
    after = {r.key: kept.document(r) for r in snapshot.resources if r.kind in _DECLARING}
    after |= {d.resource.key: d for d in documents}
    declared = external.read(document.resource for document in after.values())
    everything = {*snapshot.services_by_fqdn, *gateway_hosts(), *(one.host for one in declared)}
    subsets: Mapping[str, Collection[str]] = subsets_of(_rules(after.values(), kept), everything)
    found: list[Rejection] = []
    for document in documents:
        place = document.resource.namespace
        hidden = {one.host for one in declared if not visible(one.export_to, one.namespace, place)}
        shown = {one.host for one in declared if visible(one.export_to, one.namespace, place)}
        hosts = everything - (hidden - shown - snapshot.services_by_fqdn.keys())
        found += dangling(document, hosts, subsets)
    later = "; if it comes later, allow that: --allow-missing-hosts"
    return [one.model_copy(update={"reason": one.reason + later}) for one in found]


def _rules(documents: Iterable[Document], kept: Kept) -> Iterator[tuple[str, DestinationRule]]:
    for document in documents:
        if document.resource.kind == "DestinationRule":
            rule = kept.spec(document)
            if isinstance(rule, DestinationRule):
                yield document.resource.namespace, rule


def _rejection(document: Document, field: str, reason: str) -> Rejection:
    return Rejection(resource=document.resource.key, where=document.location, field=field, reason=reason)
