"""What a Gateway and a ListenerSet must keep to: listeners that can be told apart, TLS where it belongs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from meshlite.model.faults import Fault
from meshlite.model.gateway_api import Gateway, Listener, ListenerSet
from meshlite.model.gateway_api.gateway import GatewayAddress
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.rules import forms

_PLAIN = ("HTTP", "TCP", "UDP")
_HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def gateway(spec: Gateway, resource: Resource) -> Iterator[Fault]:
    yield from _listeners(spec.listeners)
    yield from _addresses(spec.addresses)
    per_port = spec.tls.frontend.per_port if spec.tls is not None and spec.tls.frontend is not None else ()
    ports = [entry.port for entry in per_port]
    for place, port in enumerate(ports):
        if port in ports[:place]:
            yield Fault(
                ("spec", "tls", "frontend", "perPort", place, "port"), f"{port} has its TLS configured twice"
            )


def listener_set(spec: ListenerSet, resource: Resource) -> Iterator[Fault]:
    yield from _listeners(spec.listeners)


def _listeners(listeners: Sequence[Listener]) -> Iterator[Fault]:
    names: set[str] = set()
    taken: dict[tuple[int, str, str], str] = {}
    for place, listener in enumerate(listeners):
        at: Path = ("spec", "listeners", place)
        yield from _listener(listener, at)
        if listener.name in names:
            yield Fault((*at, "name"), f"{listener.name} is the name of another listener of this Gateway")
        names.add(listener.name)
        key = (listener.port, listener.protocol, listener.hostname or "")
        first = taken.setdefault(key, listener.name)
        if first != listener.name:
            reason = f"has the port, protocol and hostname of the listener {first}: change one of them"
            yield Fault(at, reason)


def _listener(listener: Listener, at: Path) -> Iterator[Fault]:
    if listener.protocol in _PLAIN and listener.tls is not None:
        yield Fault((*at, "tls"), f"{listener.protocol} has no TLS: leave it out, or write HTTPS or TLS")
    if listener.protocol in ("TCP", "UDP") and listener.hostname:
        yield Fault((*at, "hostname"), f"{listener.protocol} has no host names: leave it out")
    tls = listener.tls
    if tls is None:
        return
    if listener.protocol == "HTTPS" and tls.mode != "Terminate":
        yield Fault((*at, "tls", "mode"), "must be Terminate for HTTPS; for Passthrough write protocol: TLS")
    if tls.mode == "Terminate" and not (tls.certificate_refs or tls.options):
        yield Fault((*at, "tls", "certificateRefs"), "Terminate needs a certificate")


def _addresses(addresses: Sequence[GatewayAddress]) -> Iterator[Fault]:
    seen: set[tuple[str, str]] = set()
    for place, address in enumerate(addresses):
        at: Path = ("spec", "addresses", place, "value")
        if address.value and address.type == "IPAddress" and not forms.is_address(address.value):
            yield Fault(at, f"{address.value} is not an address: for a host name write type: Hostname")
        if address.value and address.type == "Hostname" and not _HOST.fullmatch(address.value):
            yield Fault(at, f"{address.value} is not a host name")
        if address.value and (address.type, address.value) in seen:
            yield Fault(at, f"{address.value} is given twice")
        seen.add((address.type, address.value))
