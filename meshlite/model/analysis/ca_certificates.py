"""TLS to a destination whose certificate nobody checks: IST0128, IST0129."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import NO_VERIFICATION, NO_VERIFICATION_PORT
from meshlite.model.analysis.scene import Finding, Scene, finding
from meshlite.model.networking import ClientTLSSettings, DestinationRule


def ca_certificates(scene: Scene) -> Iterator[Finding]:
    for rule in scene.all(DestinationRule):
        policy = rule.spec.traffic_policy
        if policy is None:
            continue
        at = ("spec", "trafficPolicy")
        if _blind(policy.tls, rule.spec):
            reason = f"{rule.spec.host} is not verified: tls has no caCertificates"
            yield finding(NO_VERIFICATION, rule, (*at, "tls"), reason)
        for place, port in enumerate(policy.port_level_settings):
            if _blind(port.tls, rule.spec):
                reason = f"{rule.spec.host} is not verified at port {port.port.number}: no caCertificates"
                here = (*at, "portLevelSettings", place, "tls")
                yield finding(NO_VERIFICATION_PORT, rule, here, reason)


def _blind(tls: ClientTLSSettings | None, rule: DestinationRule) -> bool:
    if tls is None or tls.mode not in ("SIMPLE", "MUTUAL") or tls.ca_certificates:
        return False
    return not (tls.credential_name and rule.workload_selector is not None)
