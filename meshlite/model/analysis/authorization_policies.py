"""AuthorizationPolicies for nobody, and namespaces nobody has: IST0127, IST0101."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import NO_WORKLOADS, NOT_FOUND
from meshlite.model.analysis.scene import Finding, Scene, Subject, finding, shown_labels
from meshlite.model.security import AuthorizationPolicy


def authorization_policies(scene: Scene) -> Iterator[Finding]:
    for policy in scene.all(AuthorizationPolicy):
        yield from _nobody(policy, scene)
        yield from _namespaces(policy, scene)


def _nobody(policy: Subject[AuthorizationPolicy], scene: Scene) -> Iterator[Finding]:
    chosen = policy.spec.selector
    everywhere = policy.namespace == scene.root_namespace
    if everywhere and chosen is None:
        return
    labels = chosen.match_labels if chosen else {}
    if any(scene.selected(labels, "" if everywhere else policy.namespace)):
        return
    at = ("spec", "selector") if chosen else ("metadata", "namespace")
    whose = f"has the labels {shown_labels(labels)}" if labels else "runs here"
    where = "the mesh" if everywhere else f"namespace {policy.namespace}"
    reason = f"the policy is for nobody: no workload of {where} {whose}"
    yield finding(NO_WORKLOADS, policy, at, reason, absent=True)


def _namespaces(policy: Subject[AuthorizationPolicy], scene: Scene) -> Iterator[Finding]:
    for place, rule in enumerate(policy.spec.rules):
        for number, part in enumerate(rule.from_):
            at = ("spec", "rules", place, "from", number, "source")
            lists = (("namespaces", part.source.namespaces), ("notNamespaces", part.source.not_namespaces))
            for name, values in lists:
                for spot, value in enumerate(values):
                    if not any(_means(value, namespace) for namespace in scene.namespaces):
                        reason = f"no namespace {value} in the mesh"
                        yield finding(NOT_FOUND, policy, (*at, name, spot), reason, absent=True)


def _means(written: str, namespace: str) -> bool:
    if written.startswith("*"):
        return namespace.endswith(written[1:])
    if written.endswith("*"):
        return namespace.startswith(written[:-1])
    return written.lower() == namespace.lower()
