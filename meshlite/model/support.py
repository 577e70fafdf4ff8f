"""What Istio has and this version does not: a table of fields. Nothing is ignored without a word.

A row says where a field stands and what a user reads who sets it. Removing the row announces the feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.message import Message


@dataclass(frozen=True)
class Gap:
    """A field that this version lacks. `path`: as in `fields_of`; `**.`: at any depth.

    `refused`: doing without would send traffic elsewhere or protect it less. `warned`: the rest works.
    `when`: for which values; by default for every one that is not empty.
    """

    kind: str
    path: str
    status: Literal["refused", "warned"]
    sentence: str
    when: Callable[[Any], bool] = bool
    values: str = ""


def _absent(value: object) -> bool:
    return not value


def _names_mesh(tls: Any) -> bool:
    return tls.mode == "ISTIO_MUTUAL" and bool(tls.sni or tls.subject_alt_names)


def _begins(start: str) -> Callable[[str], bool]:
    return lambda value: value.startswith(start)


def _not_served(protocol: str) -> bool:
    return protocol.upper() in ("UDP", "HBONE")


def _some_address(bind: str) -> bool:
    return bind not in ("", "0.0.0.0", "::")


def _uncaptured_everywhere(listeners: tuple[Any, ...]) -> bool:
    return any(one.capture_mode == "NONE" and one.port is None for one in listeners)


def _local(bind: str) -> bool:
    return bind == "::1" or bind.startswith("127.")


def _lent(listeners: tuple[Any, ...]) -> bool:
    found = (one.bind for one in listeners if one.capture_mode == "NONE")
    return any(bind and not bind.startswith("unix:") and not _local(bind) for bind in found)


def _unreached(listeners: tuple[Any, ...]) -> bool:
    return any(one.capture_mode != "NONE" and _local(one.bind) for one in listeners)


def _any(value: object) -> bool:
    return True


def _given(value: object) -> bool:
    return value is not None


def _not(*values: str) -> Callable[[object], bool]:
    return lambda value: value not in values


def _is(*values: str) -> Callable[[object], bool]:
    return lambda value: value in values


def _service_parents(references: tuple[Any, ...]) -> bool:
    return any(reference.kind in ("Service", "ServiceEntry") for reference in references)


def _class_targets(references: tuple[Any, ...]) -> bool:
    return any(reference.kind == "GatewayClass" for reference in references)


def _outside_target(reference: Any) -> bool:
    return reference is not None and reference.kind in ("GatewayClass", "ServiceEntry")


def _outside_targets(references: tuple[Any, ...]) -> bool:
    return any(map(_outside_target, references))


_OLD_ERRORS = "has no effect in Istio: write consecutive5xxErrors or consecutiveGatewayErrors"
_DISABLE = "is taken as PERMISSIVE: plaintext is let in, and mesh identities are still known"
_EVERYWHERE = "calls are taken on all addresses of the workload: leave it out"
_APP_SOCKET = "the node proxy does not see the file systems of containers: let the app listen on a port"
_CALLED = "has no effect on the called side: the protocol of the port says what the app speaks"
_NO_PORT = "a listener without capture needs a port: name each one"
_LENT = "without capture a listener is on the loopback: elsewhere others would call in its workload's name"
_UNREACHED = "calls to the loopback are not captured: write captureMode NONE to have a listener there"
_TARGETS = "is for waypoints, and there are none: it has no effect; name a Gateway or a Service"
_BOOTSTRAP = "has no effect: all workloads of a node share one Envoy, whose bootstrap is its own"
_WAYPOINT = "has no effect: there are no waypoints; write SIDECAR_INBOUND for the called side"
_SHARED = "has no effect: all workloads of a node share one Envoy, which runs as the node has it set up"
_TRANSPORT = "is not looked at: within a node no chain has a transport socket"
_CLASS = "is not looked at: say the place by INSERT_BEFORE or INSERT_AFTER and a subFilter"

_EXPERIMENT = "is an experiment of Gateway API: name the Gateways in parentRefs"
_SESSIONS = "is not supported: write consistentHash by a cookie or header in a DestinationRule"
_EXTENSION = "points at filters of other products; there are none here"
_ONE_BACKEND = "is not possible for one backend alone: write it in the rule's filters"

_SOCKET = "gateways listen on addresses: leave bind out, or name an address"
_NOT_SERVED = "gateways serve HTTP, TLS and TCP"
_CLUSTERS = "is for traffic between clusters, which meshlite does not have: its port is not opened"
_UNUSED = "has no effect in Istio: write caCertificates beside tlsCertificates"
_UDP = "UDP passes by the mesh: the host keeps its own addresses"
_OWN_TLS = "sni and subjectAltNames are for TLS of the rule's own: the mesh knows its hops' names itself"
_NETWORK = "networks are not told apart: the address must be reachable from every node"
_ACCOUNT = "connections to the address are plaintext: its identity is not proved yet"
_GROUP = "is kept; no machine joins by it yet"

_CLASS_TARGET = "a whole class of gateways is no target: name Gateways, or select them by labels"
_OUTSIDE_TARGET = "tokens are checked by workloads and gateways only: name a Service or a Gateway"

_VS = "VirtualService"
_DR = "DestinationRule"
_PA = "PeerAuthentication"
_AP = "AuthorizationPolicy"
_RA = "RequestAuthentication"
_SE = "ServiceEntry"
_WE = "WorkloadEntry"
_WG = "WorkloadGroup"
_GW = "Gateway"
_SC = "Sidecar"
_EF = "EnvoyFilter"
_PC = "ProxyConfig"
_WP = "WasmPlugin"
_TE = "TrafficExtension"
_API_GW = "Gateway.gateway.networking.k8s.io"

GAPS: tuple[Gap, ...] = (
    Gap(_VS, "http[].fault.delay.exponentialDelay", "refused", "was never built by Istio: write fixedDelay"),
    Gap(_VS, "http[].fault.abort.http2Error", "refused", "was never built by Istio: write httpStatus"),
    Gap(_VS, "tcp[].match[].sourceSubnet", "warned", "has no effect in Istio: write sourceLabels"),
    Gap(
        _DR,
        "**.loadBalancer.backendUtilization",
        "refused",
        "endpoints' load reports are not read: choose how endpoints are picked",
    ),
    Gap(_DR, "**.outlierDetection.consecutiveErrors", "warned", _OLD_ERRORS),
    Gap(_DR, "**.tls", "warned", _OWN_TLS, _names_mesh, "ISTIO_MUTUAL with names"),
    Gap(_DR, "**.tls.mode", "warned", "the mesh's own hops stay authenticated", _is("DISABLE"), "DISABLE"),
    Gap(_SE, "ports[].protocol", "warned", _UDP, _is("UDP", "udp"), "UDP"),
    Gap(_SE, "endpoints[].network", "warned", _NETWORK),
    Gap(_SE, "endpoints[].serviceAccount", "warned", _ACCOUNT),
    Gap(_WE, "address", "refused", "networks are not supported yet: give an address", _absent, "empty"),
    Gap(_WE, "network", "warned", _NETWORK),
    Gap(_WE, "serviceAccount", "warned", _ACCOUNT),
    Gap(_WG, "template.network", "warned", _NETWORK),
    Gap(_WG, "template", "warned", _GROUP, _any),
    Gap(_WG, "probe", "warned", "workloads are not probed yet: those with its labels count as healthy"),
    Gap(_SC, "ingress[].bind", "refused", _EVERYWHERE, _some_address, "single addresses"),
    Gap(_SC, "ingress[].defaultEndpoint", "refused", _APP_SOCKET, _begins("unix:"), "unix sockets"),
    Gap(_SC, "ingress[].connectionPool.http.h2UpgradePolicy", "warned", _CALLED, _not("DEFAULT"), "all"),
    Gap(_SC, "ingress[].connectionPool.http.useClientProtocol", "warned", _CALLED),
    Gap(_SC, "inboundConnectionPool.http.h2UpgradePolicy", "warned", _CALLED, _not("DEFAULT"), "all"),
    Gap(_SC, "inboundConnectionPool.http.useClientProtocol", "warned", _CALLED),
    Gap(_SC, "ingress[].tls", "refused", "TLS from outside the mesh ends at gateways: write a Gateway"),
    Gap(_SC, "egress[].bind", "refused", _APP_SOCKET, _begins("unix:"), "unix sockets"),
    Gap(_SC, "egress", "refused", _NO_PORT, _uncaptured_everywhere, "captureMode NONE without a port"),
    Gap(_SC, "egress", "refused", _LENT, _lent, "captureMode NONE at another address"),
    Gap(_SC, "egress", "refused", _UNREACHED, _unreached, "the loopback without captureMode NONE"),
    Gap(_EF, "targetRefs", "warned", _TARGETS, _outside_targets, "of kind GatewayClass, ServiceEntry"),
    Gap(_EF, "configPatches[].applyTo", "warned", _BOOTSTRAP, _is("BOOTSTRAP"), "BOOTSTRAP"),
    Gap(_EF, "configPatches[].match.context", "warned", _WAYPOINT, _is("WAYPOINT"), "WAYPOINT"),
    Gap(_EF, "configPatches[].match.waypoint", "warned", _WAYPOINT),
    Gap(_EF, "configPatches[].match.listener.portName", "warned", "was never built by Istio: no port has it"),
    Gap(_EF, "configPatches[].match.listener.filterChain.transportSocket", "warned", _TRANSPORT),
    Gap(_EF, "configPatches[].patch.filterClass", "warned", _CLASS, _not("UNSPECIFIED"), "all"),
    Gap(_PC, "concurrency", "warned", _SHARED, _given),
    Gap(_PC, "environmentVariables", "warned", _SHARED),
    Gap(_PC, "image", "warned", _SHARED),
    Gap(_GW, "servers[].bind", "refused", _SOCKET, _begins("unix:"), "unix sockets"),
    Gap(_GW, "servers[].defaultEndpoint", "refused", "was never built by Istio: write a VirtualService"),
    Gap(_GW, "servers[].port.protocol", "refused", _NOT_SERVED, _not_served, "UDP, HBONE"),
    Gap(_GW, "servers[].tls.mode", "warned", _CLUSTERS, _is("AUTO_PASSTHROUGH"), "AUTO_PASSTHROUGH"),
    Gap(_GW, "servers[].tls.tlsCertificates[].caCertificates", "warned", _UNUSED),
    Gap(_WP, "targetRef", "warned", _TARGETS, _outside_target, "of kind GatewayClass, ServiceEntry"),
    Gap(_WP, "targetRefs", "warned", _TARGETS, _outside_targets, "of kind GatewayClass, ServiceEntry"),
    Gap(_WP, "verificationKey", "warned", "was never built by Istio: write sha256"),
    Gap(_TE, "targetRefs", "warned", _TARGETS, _outside_targets, "of kind GatewayClass, ServiceEntry"),
    Gap(_TE, "wasm.verificationKey", "warned", "was never built by Istio: write sha256"),
    Gap(_PA, "**.mode", "warned", _DISABLE, _is("DISABLE"), "DISABLE"),
    Gap(_AP, "targetRefs", "refused", _CLASS_TARGET, _class_targets, "of kind GatewayClass"),
    Gap(
        _RA, "targetRefs", "refused", _OUTSIDE_TARGET, _outside_targets, "of kind GatewayClass, ServiceEntry"
    ),
    Gap(_API_GW, "infrastructure", "warned", "has no effect: nothing is deployed for a Gateway"),
    Gap(_API_GW, "defaultScope", "refused", _EXPERIMENT),
    Gap(_API_GW, "tls.backend", "refused", "gateways show no certificate of their own to backends"),
    Gap("BackendTLSPolicy", "options", "warned", "options are each product's own, and there are none here"),
    Gap("GatewayClass", "parametersRef", "warned", "has no effect: nothing is deployed for a Gateway"),
    Gap("HTTPRoute", "**.sessionPersistence", "refused", _SESSIONS),
    Gap("HTTPRoute", "**.filters[].extensionRef", "refused", _EXTENSION),
    Gap("HTTPRoute", "**.filters[].externalAuth", "refused", "external authorization is not supported here"),
    Gap("HTTPRoute", "rules[].backendRefs[].filters[].requestMirror", "refused", _ONE_BACKEND),
    Gap("HTTPRoute", "rules[].backendRefs[].filters[].requestRedirect", "refused", _ONE_BACKEND),
    Gap("HTTPRoute", "rules[].backendRefs[].filters[].urlRewrite", "refused", _ONE_BACKEND),
    Gap("HTTPRoute", "rules[].backendRefs[].filters[].cors", "refused", _ONE_BACKEND),
    Gap("HTTPRoute", "useDefaultGateways", "refused", _EXPERIMENT),
    Gap("GRPCRoute", "**.sessionPersistence", "refused", _SESSIONS),
    Gap("GRPCRoute", "**.filters[].extensionRef", "refused", _EXTENSION),
    Gap("GRPCRoute", "rules[].backendRefs[].filters[].requestMirror", "refused", _ONE_BACKEND),
    Gap("GRPCRoute", "useDefaultGateways", "refused", _EXPERIMENT),
    Gap("TLSRoute", "useDefaultGateways", "refused", _EXPERIMENT),
    Gap("TCPRoute", "useDefaultGateways", "refused", _EXPERIMENT),
)


def gaps(kind: str, spec: Message) -> Iterator[Fault]:
    """What `spec` sets that this version does not do, below `spec`."""
    for pattern, path, value in _set_fields(spec, "", ("spec",)):
        for gap in _rows(kind, pattern):
            if gap.when(value):
                yield Fault(path, gap.sentence, warning=gap.status == "warned")


@lru_cache(maxsize=4096)
def _rows(kind: str, pattern: str) -> tuple[Gap, ...]:
    return tuple(gap for gap in GAPS if gap.kind == kind and matches(gap, pattern))


def matches(gap: Gap, pattern: str) -> bool:
    bare = pattern.removesuffix("[]").removesuffix("{}")
    if gap.path.startswith("**"):
        return f".{bare}".endswith("." + gap.path.lstrip("*."))
    return bare == gap.path


def _set_fields(message: BaseModel, prefix: str, at: Path) -> Iterator[tuple[str, Path, Any]]:
    """Fields that were given, and all of the top level, as (pattern, path, value)."""
    for name, info in type(message).model_fields.items():
        if prefix and name not in message.model_fields_set:
            continue
        alias, value = info.alias or name, getattr(message, name)
        path = (*at, alias)
        yield prefix + alias, path, value
        if isinstance(value, BaseModel):
            yield from _set_fields(value, f"{prefix}{alias}.", path)
        elif isinstance(value, tuple):
            for place, item in enumerate(value):
                yield from _below(item, f"{prefix}{alias}[].", (*path, place))
        elif isinstance(value, Mapping):
            for key, item in value.items():
                yield from _below(item, f"{prefix}{alias}{{}}.", (*path, str(key)))


def _below(item: Any, prefix: str, at: Path) -> Iterator[tuple[str, Path, Any]]:
    if isinstance(item, BaseModel):
        yield from _set_fields(item, prefix, at)
