"""TLS to a destination without authorities of its own to believe: IST0128, IST0129."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import NO_VERIFICATION, NO_VERIFICATION_PORT
from meshlite.model.analysis.scene import Finding, Scene, finding
from meshlite.model.networking import ClientTLSSettings, DestinationRule

_BELIEVED = "whoever the operating system's authorities vouch for is believed"


def ca_certificates(scene: Scene) -> Iterator[Finding]:
    for rule in scene.all(DestinationRule):
        policy = rule.spec.traffic_policy
        if policy is None:
            continue
        at = ("spec", "trafficPolicy")
        if _blind(policy.tls, rule.spec):
            reason = f"tls has no caCertificates: {_BELIEVED}"
            yield finding(NO_VERIFICATION, rule, (*at, "tls"), reason)
        for place, port in enumerate(policy.port_level_settings):
            if _blind(port.tls, rule.spec):
                reason = f"tls of port {port.port.number} has no caCertificates: {_BELIEVED}"
                here = (*at, "portLevelSettings", place, "tls")
                yield finding(NO_VERIFICATION_PORT, rule, here, reason)


def _blind(tls: ClientTLSSettings | None, rule: DestinationRule) -> bool:
    if tls is None or tls.mode not in ("SIMPLE", "MUTUAL") or tls.ca_certificates:
        return False
    return not (tls.credential_name and rule.workload_selector is not None)
