"""Listeners of Gateways and ListenerSets: which hold, which conflict, and the Istio Gateway each becomes.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#listener
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshlite.model.gateway_api import AllowedRoutes, Gateway, LabelSelector, Listener
from meshlite.model.mesh import GATEWAY_API, Resource
from meshlite.model.names import ROOT_ALIASES, ROOT_NAMESPACE
from meshlite.translate.gateway_api import tls
from meshlite.translate.gateway_api.conditions import Complaint
from meshlite.translate.gateway_api.made import made
from meshlite.translate.gateway_api.names import gateway_name
from meshlite.translate.gateway_api.parents import Owner, Parent
from meshlite.translate.gateway_api.world import NAMESPACE_LABEL, World

_HTTP = ("HTTPRoute", "GRPCRoute")
_PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "HTTP": _HTTP,
    "HTTPS": _HTTP,
    "TLS": ("TLSRoute",),
    "TCP": ("TCPRoute",),
}
_L4 = ("TCP", "UDP")
_NAMED = ("HTTP", "HTTPS", "TLS")
_BAD_CLIENTS = ("InvalidCACertificateRef", "InvalidCACertificateKind", "RefNotPermitted")


@dataclass(frozen=True)
class Opened:
    """A listener and what became of it. `complaints`: by condition; `server`: of an Istio Gateway, if any."""

    owner: Resource
    listener: Listener
    conflict: str = ""
    complaints: Mapping[str, Complaint] = field(default_factory=dict)
    server: Mapping[str, Any] | None = None
    kinds: tuple[str, ...] = ()
    all_kinds_known: bool = True

    @property
    def holds(self) -> bool:
        return not self.conflict and not self.complaints

    @property
    def key(self) -> Owner:
        return self.owner.kind, self.owner.namespace, self.owner.name

    @property
    def parent(self) -> Parent | None:
        """What routes attach to; also where it does not hold, since its routes are then ready for it."""
        if self.server is None:
            return None
        listener = self.listener
        name = gateway_name(self.owner.name, listener.name)
        return Parent(
            f"{self.owner.namespace}/{name}",
            self.key,
            self.kinds,
            tuple((host.partition("/")[0], host.partition("/")[2]) for host in self.server["hosts"]),
            listener.hostname or "",
            listener.name,
            listener.port,
            listener.protocol,
        )

    def gateway(self, selector: Mapping[str, str]) -> Resource | None:
        """The Istio Gateway, one for each listener, so that routes can bind to it alone."""
        if self.server is None or not self.holds:
            return None
        name = gateway_name(self.owner.name, self.listener.name)
        spec = {"selector": dict(selector), "servers": [dict(self.server)]}
        return made("Gateway", name, self.owner.namespace, spec, self.owner)


def opened(listener: Listener, gateway: Gateway, owner: Resource, world: World, conflict: str = "") -> Opened:
    kinds, all_known = _kinds(listener)
    if conflict:
        return Opened(owner, listener, conflict, kinds=kinds, all_kinds_known=all_known)
    complaints: dict[str, Complaint] = {}
    settings, wrong = tls.settings(listener, gateway, owner, world)
    if wrong is not None:
        complaints["ResolvedRefs"] = wrong
        complaints["Programmed"] = Complaint("Invalid", "the TLS of this listener is not usable")
        if wrong.reason in _BAD_CLIENTS:
            complaints["Accepted"] = Complaint("NoValidCACertificate", wrong.message)
    if listener.protocol not in _PROTOCOLS:
        complaints["Accepted"] = _unsupported(listener.protocol)
    needed = settings is None and listener.protocol in ("HTTPS", "TLS")
    if needed and owner.kind == "ListenerSet":
        message = f"protocol {listener.protocol} needs tls"
        complaints["Accepted"] = Complaint("UnsupportedProtocol", message)
        complaints["Programmed"] = Complaint("Invalid", "the TLS of this listener is not usable")
    server = None if needed else _server(listener, owner, settings, world)
    return Opened(owner, listener, "", complaints, server, kinds, all_known)


def _unsupported(protocol: str) -> Complaint:
    known = protocol.upper()
    hint = f": write {known}" if known in _PROTOCOLS else f"; there are {', '.join(_PROTOCOLS)}"
    return Complaint("UnsupportedProtocol", f"protocol {protocol} is not supported{hint}")


def _server(
    listener: Listener, owner: Resource, settings: dict[str, Any] | None, world: World
) -> dict[str, Any]:
    host = listener.hostname or "*"
    spaces = allowed_namespaces(listener.allowed_routes, owner.namespace, world)
    port = {"name": "default", "number": listener.port, "protocol": listener.protocol}
    server: dict[str, Any] = {"hosts": [f"{space}/{host}" for space in spaces or ("~",)], "port": port}
    return server if settings is None else server | {"tls": settings}


def allowed_namespaces(allowed: AllowedRoutes, own: str, world: World) -> tuple[str, ...]:
    """Namespaces whose routes may attach; `*` for all."""
    rule = allowed.namespaces
    if rule.from_ == "Same":
        return (own,)
    if rule.from_ == "All" or rule.selector is None:
        return ("*",)
    names = sorted(world.known.namespaces)
    return tuple(name for name in names if namespace_selected(rule.selector, name, world))


def namespace_selected(selector: LabelSelector, namespace: str, world: World) -> bool:
    """By the namespace's labels; the root namespace answers to Istio's name for it, too."""
    names = (namespace, *ROOT_ALIASES) if namespace == ROOT_NAMESPACE else (namespace,)
    labels = world.known.namespaces.get(namespace, {})
    return any(selected(selector, {**labels, NAMESPACE_LABEL: name}) for name in names)


def selected(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Kubernetes' label selectors: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/"""
    if not selector.match_labels.items() <= labels.items():
        return False
    for wanted in selector.match_expressions:
        value = labels.get(wanted.key)
        held = {
            "In": value in wanted.values,
            "NotIn": value not in wanted.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not held[wanted.operator]:
            return False
    return True


def _kinds(listener: Listener) -> tuple[tuple[str, ...], bool]:
    """Kinds of routes that may attach, and whether all that the listener asks for are among them."""
    possible = _PROTOCOLS.get(listener.protocol, ())
    if listener.protocol == "TLS" and listener.tls is not None and listener.tls.mode == "Terminate":
        possible = (*possible, "TCPRoute")
    wanted = listener.allowed_routes.kinds
    if not wanted:
        return possible, True
    found = tuple(kind for kind in possible if any((GATEWAY_API, kind) == (w.group, w.kind) for w in wanted))
    return found, len(found) == len(wanted)


def conflicts(listeners: Sequence[tuple[Owner, Listener]]) -> Mapping[tuple[Owner, str], str]:
    """Owner and name of listeners that lose to an earlier one which holds -> the reason."""
    lost: dict[tuple[Owner, str], str] = {}
    holding: list[Listener] = []
    for owner, listener in listeners:
        rival = next((one for one in holding if not _distinct(listener, one)), None)
        if rival is None:
            holding.append(listener)
        else:
            same = listener.protocol == rival.protocol and listener.protocol not in _L4
            lost[owner, listener.name] = "HostnameConflict" if same else "ProtocolConflict"
    return lost


def _distinct(one: Listener, other: Listener) -> bool:
    if one.port != other.port:
        return True
    if one.protocol in _NAMED and other.protocol in _NAMED:
        return (one.hostname or "*") != (other.hostname or "*")
    known = (*_NAMED, *_L4)
    if one.protocol in known and other.protocol in known:
        return False
    return one.protocol != other.protocol
