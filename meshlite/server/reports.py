"""Which workloads of a report are taken: a bad one is left out with a reason, the rest counts. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from meshlite.model.mesh import Problem
from meshlite.model.names import canonical_namespace
from meshlite.model.workload import Workload

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def admitted(
    workloads: Iterable[Workload],
    node: str,
    namespaces: Collection[str] | None,
    taken: Collection[str],
) -> tuple[tuple[Workload, ...], tuple[Problem, ...]]:
    """The workloads to keep, by id, and why others are not.

    `namespaces`: the only ones that the node may speak for, None for any. `taken`: ids on other nodes.
    """
    kept: dict[str, Workload] = {}
    problems: list[Problem] = []
    for reported in workloads:
        workload = reported.model_copy(update={"namespace": canonical_namespace(reported.namespace)})
        reason = _objection(workload, node, namespaces)
        if workload.id in kept:
            reason = "its id is in the report twice"
        elif workload.id in taken:
            reason = "its id is that of a workload on another node"
        if reason:
            problems.append(Problem(resource=workload.name, reason=reason))
        else:
            kept[workload.id] = workload
    return tuple(kept[key] for key in sorted(kept)), tuple(problems)


def _objection(workload: Workload, node: str, namespaces: Collection[str] | None) -> str:
    """A namespace has no dots: so `a.b` in `c` and `a` in `b.c` are never one name."""
    if workload.node != node:
        return f"it says that it runs on {workload.node}, but {node} reports it"
    if not _LABEL.fullmatch(workload.namespace):
        return f"namespace {workload.namespace!r}: letters, digits and dashes only, at most 63"
    if not _NAME.fullmatch(workload.service):
        return f"service {workload.service!r}: letters, digits, dots and dashes only"
    if workload.service_account and not _NAME.fullmatch(workload.service_account):
        return f"service account {workload.service_account!r}: letters, digits, dots and dashes only"
    if namespaces is not None and workload.namespace not in namespaces:
        return f"node {node} may not speak for namespace {workload.namespace}, only {', '.join(namespaces)}"
    return ""
