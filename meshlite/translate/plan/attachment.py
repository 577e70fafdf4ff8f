"""Decides which workloads a resource is for: by labels, by what it is attached to, by its namespace.

Source: https://istio.io/latest/docs/reference/config/type/workload-selector/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from meshlite.model.message import Message
from meshlite.model.names import ROOT_NAMESPACE
from meshlite.model.selector import PolicyTargetReference, WorkloadSelector
from meshlite.translate.plan.caller import matches
from meshlite.translate.plan.resources import Applied


class Policy(Protocol):
    """A policy with the three ways to say what it is for."""

    @property
    def selector(self) -> WorkloadSelector | None: ...
    @property
    def target_ref(self) -> PolicyTargetReference | None: ...
    @property
    def target_refs(self) -> tuple[PolicyTargetReference, ...]: ...


P = TypeVar("P", bound=Message)


@dataclass(frozen=True, slots=True)
class Called:
    """A workload as policies choose it."""

    namespace: str
    service: str
    labels: Mapping[str, str]


Has = Callable[[Mapping[str, str]], bool]
"""Whether labels are a workload's, or those of a group of callers."""


@dataclass(frozen=True)
class Side:
    """One side of the calls of some workloads, as patches and extensions choose it.

    `service`: the one that is called there; `gateways`: (namespace, name) of the Gateways that it serves.
    """

    namespace: str
    has: Has
    service: str = ""
    gateways: frozenset[tuple[str, str]] = frozenset()

    def chosen(
        self, namespace: str, labels: Mapping[str, str], targets: tuple[PolicyTargetReference, ...]
    ) -> bool:
        """Whether a resource of a namespace is for it. The root namespace's labels are for all namespaces."""
        if targets:
            return any(self._is(namespace, target) for target in targets)
        return namespace in (self.namespace, ROOT_NAMESPACE) and self.has(labels)

    def _is(self, namespace: str, target: PolicyTargetReference) -> bool:
        if target.kind == "Gateway":
            return (namespace, target.name) in self.gateways
        return target.kind == "Service" and (namespace, target.name) == (self.namespace, self.service)


def targets(spec: Policy) -> tuple[PolicyTargetReference, ...]:
    return spec.target_refs or ((spec.target_ref,) if spec.target_ref is not None else ())


def wanted(spec: Policy) -> Mapping[str, str]:
    return spec.selector.match_labels if spec.selector is not None else {}


def near(applied: Iterable[Applied[P]], namespace: str) -> tuple[Applied[P], ...]:
    """Those that may be for workloads of a namespace: the root namespace's for all first, then its own."""
    applied = tuple(applied)
    root = (one for one in applied if one.namespace == ROOT_NAMESPACE != namespace)
    return (*root, *(one for one in applied if one.namespace == namespace))


def chooses(one: Applied[P], spec: Policy, called: Called) -> bool:
    """Whether a policy that is near is for this workload."""
    if attached := targets(spec):
        services = [target.name for target in attached if target.kind == "Service"]
        return one.namespace == called.namespace and called.service in services
    return matches(wanted(spec).items(), called.labels)


def attached(spec: Policy, kind: str, names: frozenset[str]) -> bool:
    """Whether a policy of a namespace is attached to one of its resources of a kind."""
    return any(target.kind == kind and target.name in names for target in targets(spec))


def served(one: Applied[P], spec: Policy, gateways: frozenset[tuple[str, str]]) -> bool:
    """Whether a policy is attached to one of these Gateways (namespace, name)."""
    return any(
        target.kind == "Gateway" and (one.namespace, target.name) in gateways for target in targets(spec)
    )
