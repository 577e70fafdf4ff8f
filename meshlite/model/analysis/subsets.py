"""DestinationRules for hosts nobody has, and subsets without a workload: IST0174, IST0173."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import SUBSET_EMPTY, UNKNOWN_HOST
from meshlite.model.analysis.hosts import Hosts
from meshlite.model.analysis.scene import Finding, Scene, finding, shown_labels
from meshlite.model.networking import DestinationRule


def subsets(scene: Scene) -> Iterator[Finding]:
    hosts = Hosts(scene)
    for rule in scene.all(DestinationRule):
        declared = hosts.find(rule.spec.host, rule.namespace, rule.spec.export_to)
        if declared is None:
            reason = f"nothing in the mesh is called {rule.spec.host}"
            yield finding(UNKNOWN_HOST, rule, ("spec", "host"), reason, absent=True)
            continue
        for place, subset in enumerate(rule.spec.subsets):
            if not declared.has(subset.labels):
                labels = shown_labels(subset.labels)
                reason = f"subset {subset.name} is empty: no workload of {declared.host} has {labels}"
                yield finding(SUBSET_EMPTY, rule, ("spec", "subsets", place), reason, absent=True)
