"""The last steps but one: the DestinationRule of each cluster, and its endpoints."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.names import ROOT_NAMESPACE, resolve_known
from meshlite.model.networking import DestinationRule
from meshlite.model.workload import Workload
from meshlite.translate.explain.scene import Scene
from meshlite.translate.explain.story import End, PassedOver, Step
from meshlite.translate.plan.catalog import labels
from meshlite.translate.plan.cluster import Endpoint
from meshlite.translate.plan.resources import Applied, visible
from meshlite.translate.plan.rules import fits

_ELSEWHERE = {
    "original": "wherever the source dials",
    "dynamic": "whatever the request's host resolves to",
}
"""Discovery of endpoints that are known only once a request is there."""


def parts(cluster: str) -> tuple[str, str, int]:
    """FQDN, subset and port of `outbound|PORT|SUBSET|FQDN`; empty for other clusters."""
    found = cluster.split("|")
    if len(found) < 4 or not found[1].isdigit():
        return "", "", 0
    return found[3], found[2], int(found[1])


def rule_step(cluster: str, scene: Scene) -> Step:
    """Which DestinationRule says how the cluster is used."""
    fqdn, subset, _ = parts(cluster)
    fitting = [one for one in scene.rules if fits(_host(one, scene), fqdn)]
    used = scene.clusters.get(cluster)
    order = (scene.source.namespace, used.namespace if used else "", ROOT_NAMESPACE)
    usable = [one for one in fitting if _usable(one, scene) == ""]
    first = next((space for space in order if any(one.namespace == space for one in usable)), "")
    near = [one for one in usable if one.namespace == first]
    best = max(
        (_host(one, scene) for one in near),
        key=lambda host: (not host.startswith("*"), len(host)),
        default="",
    )
    followed = [one.key for one in near if _host(one, scene) == best]
    passed = tuple(
        PassedOver(one.key, _usable(one, scene) or f"that of namespace {first} with host {best} comes first")
        for one in fitting
        if one.key not in followed
    )
    if not followed:
        return Step("destination rule", "none: Istio's defaults", passed_over=passed)
    decision = f"subset {subset}" if subset and not subset.startswith("@") else "its traffic policy"
    why = "the source's namespace is asked first, then the service's, then the root namespace"
    return Step("destination rule", decision, ", ".join(followed), why, passed)


def _host(one: Applied[DestinationRule], scene: Scene) -> str:
    return resolve_known(one.spec.host, one.namespace, scene.snapshot.services_by_fqdn)


def _usable(one: Applied[DestinationRule], scene: Scene) -> str:
    """Why the source does not follow a rule; empty if it may."""
    source = scene.source
    if one.spec.workload_selector is not None:
        wanted = one.spec.workload_selector.match_labels
        if one.namespace != source.namespace or not wanted.items() <= labels(source).items():
            return "its workloadSelector is for other clients"
        return ""
    if not visible(one.spec.export_to, one.namespace, source.namespace):
        return f"it is not exported to namespace {source.namespace}"
    return ""


def endpoint_step(cluster: str, scene: Scene) -> Step:
    """Who stands behind the cluster, and which replicas of the service do not, and why."""
    fqdn, subset, port = parts(cluster)
    known = scene.clusters.get(cluster)
    if known is None:
        return Step("endpoints", f"none: there is no cluster {cluster}")
    if known.discovery in _ELSEWHERE:
        return Step("endpoints", _ELSEWHERE[known.discovery])
    names = {one.name for one in scene.snapshot.workloads}
    there = [
        one.workload if one.workload in names else f"{one.address}:{one.port}"
        for one in _found(cluster, scene)
    ]
    passed = tuple(
        PassedOver(one.name, _left_out(one, subset, port))
        for one in scene.snapshot.workloads_by_service.get(fqdn, ())
        if one.name not in there
    )
    why = "their names are resolved anew, again and again" if known.names and there else ""
    return Step("endpoints", ", ".join(there) or "none", why=why, passed_over=passed)


def elsewhere(cluster: str, scene: Scene) -> bool:
    """Its endpoints are not known before a request comes."""
    known = scene.clusters.get(cluster)
    return known is not None and known.discovery in _ELSEWHERE


def _found(cluster: str, scene: Scene) -> tuple[Endpoint, ...]:
    known = scene.clusters.get(cluster)
    found = known.names if known is not None and known.names else scene.endpoints.get(cluster)
    return found.endpoints if found is not None else ()


def _left_out(workload: Workload, subset: str, port: int) -> str:
    if workload.health != "healthy":
        return f"it is {workload.health}"
    if not any(known.number == port for known in workload.ports):
        return f"it does not listen on port {port}"
    return f"it has not the labels of subset {subset}" if subset else "this node cannot reach it"


def ends(cluster: str, share: float, scene: Scene) -> Iterator[End]:
    for one in _found(cluster, scene):
        yield End(cluster, share, one.workload, one.address, one.port)
