"""The scenes that are analysed: files by themselves, a running mesh, files laid over it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from meshlite.model.analysis.kubernetes import World
from meshlite.model.analysis.scene import Scene, SceneService, SceneWorkload, typed_spec
from meshlite.model.mesh import Resource, Snapshot
from meshlite.model.message import Message
from meshlite.model.names import EGRESS_GATEWAY, INGRESS_GATEWAY, ROOT_NAMESPACE
from meshlite.model.wire import Document

_LOCALITY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")
BUILT_IN: tuple[SceneWorkload, ...] = tuple(
    SceneWorkload(ROOT_NAMESPACE, app, {"istio": name, "app": app}, frozenset(), opens_any_port=True)
    for name, app in (("ingressgateway", INGRESS_GATEWAY), ("egressgateway", EGRESS_GATEWAY))
)
"""The gateways that every node has."""


def of_files(documents: Sequence[Document], world: World, complete: bool = False) -> Scene:
    """Files by themselves: with workloads of Kubernetes among them, or if told so, they are all there is.

    Of a resource given twice the last counts, as if they were applied one after another.
    """
    namespaces = {document.resource.namespace for document in documents}
    last = {document.resource.key: document for document in documents}
    return Scene(
        tuple(last.values()),
        world.services,
        (*world.workloads, *BUILT_IN),
        world.namespaces | namespaces,
        world.secrets if world.secrets else None,
        complete=complete or not world.empty,
    )


class Kept:
    """Documents and specs of stored resources, for who looks at the same mesh again and again.

    A resource that is the very same object as before has the same document and spec as before.
    """

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}
        self._specs: dict[str, tuple[Document, Message | None]] = {}

    def document(self, resource: Resource) -> Document:
        known = self._documents.get(resource.key)
        if known is None or known.resource is not resource:
            known = self._documents[resource.key] = Document.model_construct(
                resource=resource, location="", lines={}
            )
        return known

    def spec(self, document: Document) -> Message | None:
        key = document.resource.key
        if self._documents.get(key) is not document:
            return typed_spec(document)
        known = self._specs.get(key)
        if known is None or known[0] is not document:
            known = self._specs[key] = document, typed_spec(document)
        return known[1]

    def tidy(self, resources: Sequence[Resource]) -> None:
        """Forget all but these, once there is as much to forget."""
        if len(self._documents) <= 2 * len(resources) + 100:
            return
        there = {resource.key for resource in resources}
        for memory in (self._documents, self._specs):
            for key in memory.keys() - there:
                del memory[key]


def of_mesh(snapshot: Snapshot, documents: Sequence[Document] = (), kept: Kept | None = None) -> Scene:
    """The running mesh, with `documents` as if they were applied."""
    kept = kept or Kept()
    stored = {resource.key: kept.document(resource) for resource in _in_order(snapshot.resources)}
    resources = stored | {document.resource.key: document for document in documents}
    services = tuple(
        SceneService(s.namespace, s.name, {port.number: port.number for port in s.ports}, s.export_to)
        for s in snapshot.services
    )
    namespaces = {workload.namespace for workload in snapshot.workloads}
    return Scene(
        tuple(resources.values()),
        services,
        (*_workloads(snapshot), *BUILT_IN),
        frozenset(namespaces | {document.resource.namespace for document in resources.values()}),
        complete=True,
        typed=kept.spec,
    )


def _in_order(resources: Iterable[Resource]) -> list[Resource]:
    return sorted(resources, key=lambda resource: (resource.sequence, resource.key))


def _workloads(snapshot: Snapshot) -> Iterator[SceneWorkload]:
    for workload in snapshot.workloads:
        parts = zip(_LOCALITY, workload.locality.split("/"), strict=False)
        locality = {key: part for key, part in parts if part}
        version = {"version": workload.version} if workload.version else {}
        labels = {**version, **workload.labels, **locality}
        yield SceneWorkload(workload.namespace, workload.name, labels, frozenset((workload.service_fqdn,)))
