"""Fields that Istio has given up: IST0002."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import DEPRECATED
from meshlite.model.analysis.scene import Finding, Scene, finding
from meshlite.model.located import Path
from meshlite.model.networking import VirtualService
from meshlite.model.networking.sidecar import Sidecar
from meshlite.model.telemetry import Telemetry


def deprecation(scene: Scene) -> Iterator[Finding]:
    for service in scene.all(VirtualService):
        for place, rule in enumerate(service.spec.http):
            if rule.fault and rule.fault.delay and rule.fault.delay.percent:
                at: Path = ("spec", "http", place, "fault", "delay", "percent")
                yield finding(DEPRECATED, service, at, "percent is deprecated: write percentage")
    for sidecar in scene.all(Sidecar):
        policy = sidecar.spec.outbound_traffic_policy
        if policy and policy.egress_proxy:
            at = ("spec", "outboundTrafficPolicy", "egressProxy")
            yield finding(DEPRECATED, sidecar, at, "egressProxy is deprecated and ignored")
    for telemetry in scene.all(Telemetry):
        for place, tracing in enumerate(telemetry.spec.tracing):
            for number, provider in enumerate(tracing.providers):
                if provider.name in scene.mesh.lightstep_providers:
                    at = ("spec", "tracing", place, "providers", number)
                    yield finding(DEPRECATED, telemetry, at, "Lightstep is deprecated: use OpenTelemetry")
