"""Istio's verdict on a PeerAuthentication."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.mesh import Resource
from meshlite.model.names import ROOT_NAMESPACE
from meshlite.model.rules.labels import selector
from meshlite.model.security.peer_authentication import PeerAuthentication


def peer_authentication(spec: PeerAuthentication, resource: Resource) -> Iterator[Fault]:
    yield from selector(spec.selector, ("spec", "selector"))
    selects = bool(spec.selector and spec.selector.match_labels)
    if spec.port_level_mtls is not None:
        at = ("spec", "portLevelMtls")
        if not spec.port_level_mtls:
            yield Fault(at, "must name at least one port, or be left out")
        elif not selects:
            yield Fault(at, "is per workload: add a selector with matchLabels")
    if selects and resource.namespace == ROOT_NAMESPACE:
        reason = f"in the root namespace {ROOT_NAMESPACE} a policy with a selector has no effect"
        yield Fault(("spec", "selector"), reason, warning=True)
