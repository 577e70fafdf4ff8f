"""Sidecars and Telemetries of which only one may be for a workload, and policies for no workload.

IST0101, IST0110, IST0111, IST0159, IST0160, IST0166.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from meshlite.model.analysis.codes import (
    INEFFECTIVE_SELECTOR,
    NOT_FOUND,
    SIDECAR_DEFAULTS,
    SIDECAR_SELECTORS,
    TELEMETRY_DEFAULTS,
    TELEMETRY_SELECTORS,
    Code,
)
from meshlite.model.analysis.scene import Finding, Scene, Subject, finding, listed, shown_labels
from meshlite.model.extensions.wasm import WasmPlugin
from meshlite.model.message import Message
from meshlite.model.networking.sidecar import Sidecar
from meshlite.model.security import AuthorizationPolicy, RequestAuthentication
from meshlite.model.telemetry import Telemetry

T = TypeVar("T", bound=Message)
_Selecting = AuthorizationPolicy | RequestAuthentication | Telemetry | WasmPlugin
_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"


def sidecar_selectors(scene: Scene) -> Iterator[Finding]:
    sidecars = scene.all(Sidecar)
    at = ("spec", "workloadSelector")
    yield from _one_each(sidecars, _sidecar_labels, scene, SIDECAR_SELECTORS, at)
    yield from _one_default([s for s in sidecars if not _sidecar_labels(s.spec)], SIDECAR_DEFAULTS)


def telemetry_selectors(scene: Scene) -> Iterator[Finding]:
    telemetries = scene.all(Telemetry)
    yield from _one_each(telemetries, _telemetry_labels, scene, TELEMETRY_SELECTORS, ("spec", "selector"))


def telemetry_defaults(scene: Scene) -> Iterator[Finding]:
    everywhere = [t for t in scene.all(Telemetry) if t.spec.selector is None]
    yield from _one_default(everywhere, TELEMETRY_DEFAULTS)


def gateway_selectors(scene: Scene) -> Iterator[Finding]:
    """A gateway of Gateway API is meant by targetRefs, never by its labels."""
    policies: tuple[Subject[_Selecting], ...] = (
        *scene.all(AuthorizationPolicy),
        *scene.all(RequestAuthentication),
        *scene.all(Telemetry),
        *scene.all(WasmPlugin),
    )
    for policy in policies:
        if policy.spec.selector is None or policy.spec.target_ref is not None:
            continue
        for workload in scene.selected(policy.spec.selector.match_labels, policy.namespace):
            if _GATEWAY_NAME in workload.labels:
                name = workload.labels[_GATEWAY_NAME]
                reason = f"a selector has no effect on the gateway {name}: use targetRefs"
                yield finding(INEFFECTIVE_SELECTOR, policy, ("spec", "selector"), reason)


def _sidecar_labels(spec: Sidecar) -> Mapping[str, str]:
    return spec.workload_selector.labels if spec.workload_selector else {}


def _telemetry_labels(spec: Telemetry) -> Mapping[str, str]:
    return spec.selector.match_labels if spec.selector else {}


def _one_each(
    subjects: Sequence[Subject[T]],
    labels: Callable[[T], Mapping[str, str]],
    scene: Scene,
    code: Code,
    at: tuple[str, ...],
) -> Iterator[Finding]:
    """Each with a selector must select somebody, and nobody that another selects."""
    chosen: dict[tuple[str, str], list[Subject[T]]] = {}
    for subject in subjects:
        wanted = labels(subject.spec)
        if not wanted:
            continue
        selected = tuple(scene.selected(wanted, subject.namespace))
        for workload in selected:
            chosen.setdefault((workload.namespace, workload.name), []).append(subject)
        if not selected:
            reason = f"no workload of namespace {subject.namespace} has the labels {shown_labels(wanted)}"
            yield finding(NOT_FOUND, subject, at, reason, absent=True)
    for (_, name), rivals in chosen.items():
        for subject in rivals if len(rivals) > 1 else ():
            others = listed(other.title for other in rivals if other.key != subject.key)
            yield finding(code, subject, at, f"{others} selects workload {name}, too: only one counts")


def _one_default(subjects: Sequence[Subject[T]], code: Code) -> Iterator[Finding]:
    for subject in subjects:
        rivals = [s for s in subjects if s.namespace == subject.namespace and s.key != subject.key]
        if rivals:
            reason = (
                f"{listed(other.title for other in rivals)} is for the whole namespace, too: only one counts"
            )
            yield finding(code, subject, ("metadata", "name"), reason)
