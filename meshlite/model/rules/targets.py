"""Istio's verdict on what a policy is attached to: a selector, or targets of Gateway API's kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.message import camel
from meshlite.model.rules.labels import selector
from meshlite.model.scalars import shown
from meshlite.model.selector import PolicyTargetReference, WorkloadSelector

_TARGETS = {
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
}
_GROUP = re.compile(r"|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Attached(Protocol):
    """A policy with the three ways to say what it is for."""

    @property
    def selector(self) -> WorkloadSelector | None: ...
    @property
    def target_ref(self) -> PolicyTargetReference | None: ...
    @property
    def target_refs(self) -> tuple[PolicyTargetReference, ...]: ...
    @property
    def model_fields_set(self) -> set[str]: ...


def targets(spec: Attached, at: Path = ("spec",)) -> Iterator[Fault]:
    """One of `selector`, `targetRef` and `targetRefs`, and each of them good."""
    given = [name for name in ("selector", "target_ref", "target_refs") if name in spec.model_fields_set]
    if len(given) > 1:
        names = " and ".join(map(camel, given))
        yield Fault((*at, camel(given[-1])), f"{names} exclude each other: set one of them")
    yield from selector(spec.selector, (*at, "selector"))
    if spec.target_ref:
        yield from target(spec.target_ref, (*at, "targetRef"))
    for place, one in enumerate(spec.target_refs):
        yield from target(one, (*at, "targetRefs", place))


def target(target: PolicyTargetReference, at: Path) -> Iterator[Fault]:
    if not target.name or len(target.name) > 253:
        yield Fault((*at, "name"), "must be a name of 1 to 253 characters")
    if target.namespace:
        yield Fault((*at, "namespace"), "a target is in the policy's own namespace: leave this out")
    if len(target.group) > 253 or not _GROUP.fullmatch(target.group):
        yield Fault((*at, "group"), f"{shown(target.group)} is not an API group")
    elif (target.group, target.kind) not in _TARGETS:
        kinds = "Gateway or GatewayClass of gateway.networking.k8s.io, Service, ServiceEntry"
        given = f"{target.kind} of {target.group or 'the core group'}"
        yield Fault((*at, "kind"), f"cannot be {given}: a target is a {kinds}")
