"""Access logs that name no provider, where the mesh has none by default: IST0157."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import TELEMETRY_PROVIDER
from meshlite.model.analysis.scene import Finding, Scene, finding
from meshlite.model.telemetry import Telemetry


def telemetry_providers(scene: Scene) -> Iterator[Finding]:
    if scene.mesh.access_log_by_default:
        return
    for telemetry in scene.all(Telemetry):
        for place, logging in enumerate(telemetry.spec.access_logging):
            if not logging.disabled and not logging.providers:
                at = ("spec", "accessLogging", place)
                reason = "is ignored: it names no provider, and the mesh has none by default"
                yield finding(TELEMETRY_PROVIDER, telemetry, at, reason)
