"""Hosts for which several VirtualServices hold within the mesh: IST0109."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import MESH_HOSTS
from meshlite.model.analysis.hosts import Hosts, scopes
from meshlite.model.analysis.scene import Finding, Scene, Subject, finding, listed
from meshlite.model.networking import VirtualService
from meshlite.model.rules.virtual_service import overlap


def mesh_hosts(scene: Scene) -> Iterator[Finding]:
    """Each VirtualService once: with those that have a host of its own for the same callers."""
    hosts = Hosts(scene)
    order = [service.key for service in scene.all(VirtualService)]
    owners: dict[tuple[str, str], list[Subject[VirtualService]]] = {}
    for service in scene.all(VirtualService):
        if service.spec.gateways and "mesh" not in service.spec.gateways:
            continue
        for host in service.spec.hosts:
            name = hosts.resolved(host, service.namespace)
            for scope in scopes(service.spec.export_to, service.namespace):
                owners.setdefault((scope, name), []).append(service)
    told: set[str] = set()
    for (scope, host), subjects in owners.items():
        rivals = list(subjects)
        if scope != "*":
            for (other, wide), more in owners.items():
                if other == "*" and overlap(host, wide):
                    together = {one.key: one for one in (*rivals, *more)}
                    rivals = [together[key] for key in order if key in together]
        for service in rivals if len(rivals) > 1 else ():
            if service.key not in told:
                told.add(service.key)
                yield _conflict(service, host, rivals)


def _conflict(service: Subject[VirtualService], host: str, rivals: list[Subject[VirtualService]]) -> Finding:
    others = listed(other.title for other in rivals if other.key != service.key)
    outcome = "this one was" if service is rivals[0] else f"{rivals[0].title} was"
    reason = f"{host} is routed by {others}, too; {outcome} applied first and wins: merge them"
    return finding(MESH_HOSTS, service, ("spec", "hosts"), reason)
