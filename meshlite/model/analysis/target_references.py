"""Resources attached to what is not there, or to a Gateway that nobody serves: IST0101."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshlite.model import gateway_api
from meshlite.model.analysis.codes import NOT_FOUND
from meshlite.model.analysis.scene import Finding, Scene, Subject, finding
from meshlite.model.extensions import TrafficExtension, WasmPlugin
from meshlite.model.made import made_from
from meshlite.model.message import Message
from meshlite.model.names import canonical_namespace
from meshlite.model.networking import EnvoyFilter, Gateway, ServiceEntry
from meshlite.model.security import AuthorizationPolicy, RequestAuthentication
from meshlite.model.telemetry import Telemetry

_ATTACHED: tuple[type[Message], ...] = (
    AuthorizationPolicy,
    RequestAuthentication,
    EnvoyFilter,
    WasmPlugin,
    TrafficExtension,
    Telemetry,
)
ATTACHED = frozenset(kind.__name__ for kind in _ATTACHED)
"""Kinds that may be attached to others."""

Name = tuple[str, str]


def target_references(scene: Scene) -> Iterator[Finding]:
    """A target is always of the resource's own namespace."""
    known = {
        "Gateway": frozenset(_gateways(scene)),
        "Service": frozenset((one.namespace, one.name) for one in scene.services),
        "ServiceEntry": frozenset((one.namespace, one.name) for one in scene.all(ServiceEntry)),
    }
    for kind in _ATTACHED:
        for subject in scene.all(kind):
            for at, target in _targets(subject):
                name = canonical_namespace(subject.namespace), target.name
                if target.kind in known and name not in known[target.kind]:
                    which = f"{target.kind} {target.name} in namespace {subject.namespace}"
                    served = " that anybody serves" if target.kind == "Gateway" else ""
                    reason = f"there is no {which}{served}: it is for nobody"
                    yield finding(NOT_FOUND, subject, ("spec", *at, "name"), reason, absent=True)


def _targets(subject: Subject[Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    lone = getattr(subject.spec, "target_ref", None)
    if lone is not None:
        yield ("targetRef",), lone
    for place, target in enumerate(subject.spec.target_refs):
        yield ("targetRefs", place), target


def _gateways(scene: Scene) -> Iterator[Name]:
    """Of Istio and of Gateway API, by namespace and name. Nobody serves one whose labels nobody has."""
    for one in scene.all(Gateway):
        if any(scene.selected(one.spec.selector)):
            for key in (one.key, *made_from(one.document.resource.annotations)):
                _, namespace, name = key.split("/", 2)
                yield canonical_namespace(namespace), name
    for written in scene.all(gateway_api.Gateway):
        yield canonical_namespace(written.namespace), written.name
