"""Where routes send to: a backendRef becomes a destination, or there is something wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from meshlite.model.gateway_api import BackendObjectReference, BackendRef
from meshlite.model.mesh import Resource
from meshlite.model.names import fqdn
from meshlite.translate.gateway_api.conditions import Complaint
from meshlite.translate.gateway_api.world import World

NOWHERE = "unresolved.invalid"
"""The host of a reference that must not be followed; requests that fall to it get 500."""

NOBODY = {"host": "internal.cluster.local", "subset": "zero-weight", "port": {"number": 65535}}
"""Where connections go that no backend has a weight for: they are closed."""

Ref = TypeVar("Ref", bound=BackendRef)


@dataclass(frozen=True)
class Backend:
    """`wrong`: it takes its share all the same, and that fails. `hopeless`: the whole route is wrong."""

    destination: dict[str, Any]
    wrong: Complaint | None = None
    hopeless: bool = False


def backend(ref: BackendObjectReference, route: Resource, world: World, for_mesh: bool) -> Backend:
    """The destination meant. Within the mesh anybody may call anybody, so no ReferenceGrant is asked for."""
    namespace = ref.namespace or route.namespace
    if not for_mesh and not world.granted(route, ref.group, ref.kind, namespace, ref.name):
        message = (
            f"backendRef {ref.name} of namespace {namespace} may not be used by a {route.kind} of namespace"
            f" {route.namespace}: a ReferenceGrant there is missing"
        )
        return Backend({"host": NOWHERE}, Complaint("RefNotPermitted", message))
    match (ref.group, ref.kind):
        case ("", "Service") | ("multicluster.x-k8s.io", "ServiceImport"):
            return _service(ref, namespace, world)
        case ("networking.istio.io", "Hostname"):
            return _host(ref, world)
    message = f"a {ref.kind} of group {ref.group or 'core'} cannot be a backend"
    return Backend({"host": NOWHERE}, Complaint("InvalidKind", message))


def weighted(refs: Sequence[Ref]) -> tuple[tuple[Ref, int], ...]:
    """Those that get something, with their weights; a lone one needs none."""
    used = [(ref, ref.weight) for ref in refs if ref.weight]
    return ((used[0][0], 0),) if len(used) == 1 else tuple(used)


def _service(ref: BackendObjectReference, namespace: str, world: World) -> Backend:
    if "." in ref.name:
        message = f"{ref.name} is not the name of a service: leave out its namespace and domain"
        return Backend({"host": NOWHERE}, Complaint("InvalidDestination", message), hopeless=True)
    host = fqdn(ref.name, namespace)
    wrong = None
    if world.known.service(ref.name, namespace) is None:
        message = f"there is no service {ref.name} in namespace {namespace}"
        wrong = Complaint("BackendNotFound", message)
    return _at_port(host, ref, wrong)


def _host(ref: BackendObjectReference, world: World) -> Backend:
    if ref.namespace is not None:
        message = "a Hostname is in no namespace: leave it out"
        return Backend({"host": NOWHERE}, Complaint("InvalidDestination", message), hopeless=True)
    wrong = None
    if ref.name not in world.hostnames and ref.name not in world.known.services:
        message = f"nothing declares the host {ref.name}: write a ServiceEntry for it"
        wrong = Complaint("BackendNotFound", message)
    return _at_port(ref.name, ref, wrong)


def _at_port(host: str, ref: BackendObjectReference, wrong: Complaint | None) -> Backend:
    if ref.port is None:
        message = f"backendRef {ref.name} needs a port"
        return Backend({"host": NOWHERE}, Complaint("InvalidDestination", message), hopeless=True)
    return Backend({"host": host, "port": {"number": ref.port}}, wrong)
