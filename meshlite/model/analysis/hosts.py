"""Whether a host is declared, by a service or a ServiceEntry, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from meshlite.model.analysis.scene import Scene, SceneWorkload
from meshlite.model.names import resolve_known
from meshlite.model.networking import ServiceEntry


@dataclass(frozen=True)
class Declared:
    """A host, its ports, and whether some endpoint of it has all of some labels."""

    host: str
    ports: tuple[int, ...]
    endpoints: tuple[Mapping[str, str], ...] = field(default=(), compare=False)

    def has(self, labels: Mapping[str, str]) -> bool:
        return any(labels.items() <= endpoint.items() for endpoint in self.endpoints)


class Hosts:
    """Looks hosts up as they are seen from a namespace."""

    def __init__(self, scene: Scene) -> None:
        self._by_scope: dict[tuple[str, str], Declared] = {}
        for scope, declared in (*_of_services(scene), *_of_entries(scene)):
            self._by_scope.setdefault((scope, declared.host), declared)
        self.known = frozenset(host for _, host in self._by_scope)

    def resolved(self, host: str, namespace: str) -> str:
        return resolve_known(host, namespace, self.known)

    def find(self, host: str, namespace: str, export_to: Iterable[str] = ()) -> Declared | None:
        """What `host` means in a resource of `namespace` that is visible in `export_to`."""
        name = self.resolved(host, namespace)
        own = [namespace if scope == "." else scope for scope in export_to] or [namespace]
        for scope in ("*", *own):
            if found := self._by_scope.get((scope, name)):
                return found
        for (scope, pattern), declared in self._by_scope.items():
            wide = scope in ("*", namespace) and pattern.startswith("*")
            if wide and name.removeprefix("*").endswith(pattern[1:]):
                return declared
        return None


def scopes(export_to: tuple[str, ...], namespace: str) -> frozenset[str]:
    """The namespaces that see a resource, or `*` alone."""
    if not export_to or "*" in export_to:
        return frozenset("*")
    return frozenset(namespace if scope == "." else scope for scope in export_to)


def _of_services(scene: Scene) -> Iterator[tuple[str, Declared]]:
    members: dict[str, list[SceneWorkload]] = {}
    for workload in scene.workloads:
        for name in workload.services:
            members.setdefault(name, []).append(workload)
    for service in scene.services:
        endpoints = tuple(workload.labels for workload in members.get(service.fqdn, ()))
        for scope in scopes(service.export_to, service.namespace):
            yield scope, Declared(service.fqdn, tuple(service.ports), endpoints)


def _of_entries(scene: Scene) -> Iterator[tuple[str, Declared]]:
    known = frozenset(service.fqdn for service in scene.services)
    for entry in scene.all(ServiceEntry):
        ports = tuple(port.number for port in entry.spec.ports)
        endpoints: list[Mapping[str, str]] = [endpoint.labels for endpoint in entry.spec.endpoints]
        if entry.spec.workload_selector:
            chosen = entry.spec.workload_selector.labels
            endpoints += [workload.labels for workload in scene.selected(chosen, entry.namespace)]
        for host in entry.spec.hosts:
            declared = Declared(resolve_known(host, entry.namespace, known), ports, tuple(endpoints))
            for scope in scopes(entry.spec.export_to, entry.namespace):
                yield scope, declared
