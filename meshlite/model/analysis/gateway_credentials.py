"""Certificates that Gateways name and nobody has, or that are no good: IST0101, IST0161."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import CREDENTIAL, NOT_FOUND
from meshlite.model.analysis.scene import Finding, Scene, finding, shown_labels
from meshlite.model.networking.gateway import Gateway


def gateway_credentials(scene: Scene) -> Iterator[Finding]:
    """A credential is in the namespace of the workload that serves. Silent where nobody knows secrets."""
    if scene.secrets is None:
        return
    for gateway in scene.all(Gateway):
        selected = next(scene.selected(gateway.spec.selector), None)
        if selected is None:
            reason = f"no workload has the labels {shown_labels(gateway.spec.selector)}"
            yield finding(NOT_FOUND, gateway, ("spec", "selector"), reason, absent=True)
            continue
        for place, server in enumerate(gateway.spec.servers):
            name = server.tls.credential_name if server.tls else ""
            if not name:
                continue
            at = ("spec", "servers", place, "tls", "credentialName")
            wrong = scene.secrets.get((selected.namespace, name))
            if wrong is None:
                reason = f"no credential {name} in namespace {selected.namespace}"
                yield finding(NOT_FOUND, gateway, at, reason, absent=True)
            elif wrong:
                yield finding(CREDENTIAL, gateway, at, f"credential {name} is no good: {wrong}")
