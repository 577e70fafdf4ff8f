"""Gateways: the workloads and ports they need, and hosts that several serve.

IST0101, IST0162, IST0145, IST0138.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshlite.model.analysis.codes import (
    DUPLICATE_CERTIFICATE,
    GATEWAY_CONFLICT,
    GATEWAY_PORT,
    NOT_FOUND,
)
from meshlite.model.analysis.scene import Finding, Scene, Subject, finding, listed, shown_labels
from meshlite.model.networking.gateway import Gateway, Server, ServerTLSSettings

_SELECTOR = ("spec", "selector")


def gateway_ports(scene: Scene) -> Iterator[Finding]:
    """Somebody must be selected, and his services must have the ports."""
    services = {service.fqdn: service for service in scene.services}
    for gateway in scene.all(Gateway):
        selected = tuple(scene.selected(gateway.spec.selector))
        if not selected:
            reason = f"no workload has the labels {shown_labels(gateway.spec.selector)}"
            yield finding(NOT_FOUND, gateway, _SELECTOR, reason, absent=True)
            continue
        if any(workload.opens_any_port for workload in selected):
            continue
        open_ports: set[int] = set()
        for name in {name for workload in selected for name in workload.services}:
            for own, target in services[name].ports.items() if name in services else ():
                open_ports |= {own, target}
        for place, server in enumerate(gateway.spec.servers):
            if server.port.number not in open_ports:
                at = ("spec", "servers", place, "port", "number")
                reason = f"no service of the workloads it selects has port {server.port.number}"
                yield finding(GATEWAY_PORT, gateway, at, reason, absent=True)


def gateway_conflicts(scene: Scene) -> Iterator[Finding]:
    """Of two that serve one host at one port of one workload, one wins."""
    gateways = scene.all(Gateway)
    for gateway in gateways:
        rivals = [
            other
            for other in gateways
            if other.key != gateway.key and _meet(gateway.spec.selector, other.spec.selector, scene)
        ]
        for place, server in enumerate(gateway.spec.servers):
            found = [other for other in rivals if _serves(other.spec, server)]
            if found:
                names = listed(other.title for other in found)
                hosts = ", ".join(server.hosts)
                reason = f"port {server.port.number} and hosts {hosts} are served by {names}, too"
                yield finding(GATEWAY_CONFLICT, gateway, ("spec", "servers", place), reason)


def _meet(one: Mapping[str, str], other: Mapping[str, str], scene: Scene) -> bool:
    return one == other or any(other.items() <= workload.labels.items() for workload in scene.selected(one))


def _serves(gateway: Gateway, server: Server) -> bool:
    return any(
        own.port.number == server.port.number
        and own.bind == server.bind
        and set(own.hosts) & set(server.hosts)
        for own in gateway.servers
    )


def gateway_certificates(scene: Scene) -> Iterator[Finding]:
    """With one certificate at several Gateways, browsers reuse a connection for hosts of the others."""
    gateways = scene.all(Gateway)
    for gateway in gateways:
        for other in gateways:
            near = gateway.spec.selector.items() <= other.spec.selector.items()
            if other.key != gateway.key and near:
                yield from _duplicates(gateway, other)


def _duplicates(gateway: Subject[Gateway], other: Subject[Gateway]) -> Iterator[Finding]:
    for place, server in enumerate(gateway.spec.servers):
        for theirs in other.spec.servers:
            if server.tls and theirs.tls and _same(server.tls, theirs.tls):
                reason = f"{other.title} has the same certificate: clients may reuse connections and get 404"
                yield finding(DUPLICATE_CERTIFICATE, gateway, ("spec", "servers", place, "tls"), reason)


def _same(one: ServerTLSSettings, other: ServerTLSSettings) -> bool:
    if one.credential_name or other.credential_name:
        return one.credential_name == other.credential_name
    files = (one.server_certificate, one.private_key)
    return all(files) and files == (other.server_certificate, other.private_key)
