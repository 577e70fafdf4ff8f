"""The scenes that are analysed: files by themselves, a running mesh, files laid over it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from meshlite.model.analysis.kubernetes import World
from meshlite.model.analysis.scene import Scene, SceneService, SceneWorkload
from meshlite.model.mesh import Resource, Snapshot
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


def of_mesh(snapshot: Snapshot, documents: Sequence[Document] = ()) -> Scene:
    """The running mesh, with `documents` as if they were applied."""
    stored = {resource.key: Document(resource=resource) for resource in _in_order(snapshot.resources)}
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
