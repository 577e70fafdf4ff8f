"""What routes attach to: listeners and the mesh; and how each route's parents take it.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#parentreference
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from meshlite.model.gateway_api import ParentReference
from meshlite.model.mesh import GATEWAY_API, Resource
from meshlite.translate.gateway_api.conditions import Complaint
from meshlite.translate.gateway_api.hosts import covers, overlap
from meshlite.translate.gateway_api.world import World

MESH = "mesh"
ROUTE_KINDS = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")

Owner = tuple[str, str, str]
"""Kind, namespace and name of a Gateway or ListenerSet."""

_WORST_FIRST = ("NotAllowedByListeners", "NoMatchingListenerHostname", "NoMatchingParent")


@dataclass(frozen=True)
class Parent:
    """A listener as routes see it, or the mesh. `bound`: what a VirtualService's `gateways` calls it.

    `hosts`: (namespace or `*` or `~` for none, host) that may attach; empty for the mesh.
    """

    bound: str
    owner: Owner
    kinds: tuple[str, ...]
    hosts: tuple[tuple[str, str], ...] = ()
    hostname: str = ""
    section: str = ""
    port: int = 0
    protocol: str = ""


@dataclass(frozen=True)
class Attachment:
    """One parentRef of a route held against one parent. `denied`: why it does not attach.

    `rivals`: host names of other listeners of the same port and protocol, which take what is closer to them.
    """

    reference: ParentReference
    parent: Parent
    denied: Complaint | None
    rivals: frozenset[str] = frozenset()

    @property
    def mesh(self) -> bool:
        return self.parent.bound == MESH

    def takes(self, host: str) -> bool:
        """Whether the host is this listener's, and not that of a listener which names it more closely."""
        own = self.parent.hostname
        if own and not own.startswith("*"):
            return True
        if own and not overlap(host, own):
            return False
        return not any(len(own) <= len(rival) and covers(rival or "*", host) for rival in self.rivals)


@dataclass(frozen=True)
class Attachments:
    """All of one route's, in the order of its parentRefs. `unknown`: references to what is not there."""

    found: tuple[Attachment, ...]
    unknown: tuple[tuple[ParentReference, Complaint], ...]

    @cached_property
    def allowed(self) -> tuple[Attachment, ...]:
        found = [one for one in self.found if one.denied is None]
        return tuple(sorted(found, key=lambda one: one.parent.bound))

    @property
    def sides(self) -> frozenset[bool]:
        """Whether rules are wanted for the mesh (True), for gateways (False), or both."""
        return frozenset(one.mesh for one in self.found) | (
            frozenset({False}) if self.unknown else frozenset()
        )

    def outcomes(self, reference: ParentReference) -> tuple[bool, Complaint | None] | None:
        """Whether the reference is to the mesh, and why no parent of it takes the route, if so.

        One parent that takes it is enough, else the worst complaint counts. None: not ours to judge.
        """
        found = [one for one in self.found if one.reference is reference]
        complaints = [one.denied for one in found if one.denied is not None]
        complaints += [denied for other, denied in self.unknown if other is reference]
        if len(complaints) < len(found):
            return found[0].mesh, None
        if not complaints:
            return None
        worst = min(_WORST_FIRST.index(complaint.reason) for complaint in complaints)
        said = [one.message for one in complaints if one.reason == _WORST_FIRST[worst]]
        mesh = bool(found) and found[0].mesh
        return mesh, Complaint(_WORST_FIRST[worst], "; ".join(dict.fromkeys(said)))


def attachments(
    route: Resource,
    references: Sequence[ParentReference],
    hostnames: Sequence[str],
    parents: Mapping[Owner, Sequence[Parent]],
    world: World,
) -> Attachments:
    """What becomes of each parentRef. Parents of unknown kinds are passed over, as the API wants it."""
    found: list[Attachment] = []
    unknown: list[tuple[ParentReference, Complaint]] = []
    for reference in references:
        namespace = reference.namespace or route.namespace
        kind = (reference.group, reference.kind)
        if kind in (("", "Service"), ("networking.istio.io", "ServiceEntry")):
            found.append(_to_mesh(reference, namespace, world))
        elif kind in ((GATEWAY_API, "Gateway"), (GATEWAY_API, "ListenerSet")):
            candidates = parents.get((reference.kind, namespace, reference.name), ())
            if not candidates:
                message = f"there is no {reference.kind} {reference.name} in namespace {namespace}"
                unknown.append((reference, Complaint("NoMatchingParent", message)))
            else:
                found += _to_listeners(route, reference, hostnames, candidates)
    return Attachments(tuple(found), tuple(unknown))


def _to_mesh(reference: ParentReference, namespace: str, world: World) -> Attachment:
    parent = Parent(MESH, (reference.kind, namespace, reference.name), ROUTE_KINDS)
    denied = None
    if reference.kind == "Service" and world.known.service(reference.name, namespace) is None:
        message = f"there is no service {reference.name} in namespace {namespace}"
        denied = Complaint("NoMatchingParent", message)
    elif reference.kind == "ServiceEntry" and (namespace, reference.name) not in world.entries:
        message = f"there is no ServiceEntry {reference.name} in namespace {namespace}"
        denied = Complaint("NoMatchingParent", message)
    return Attachment(reference, parent, denied)


def _to_listeners(
    route: Resource, reference: ParentReference, hostnames: Sequence[str], candidates: Sequence[Parent]
) -> Iterator[Attachment]:
    for parent in candidates:
        rivals = frozenset(
            other.hostname
            for other in candidates
            if other is not parent and (other.port, other.protocol) == (parent.port, parent.protocol)
        )
        denied = _denied(route, reference, hostnames or ("*",), parent)
        yield Attachment(reference, parent, denied, rivals - {parent.hostname})


def _denied(
    route: Resource, reference: ParentReference, hostnames: Sequence[str], parent: Parent
) -> Complaint | None:
    if reference.port is not None and reference.port != parent.port:
        return Complaint("NoMatchingParent", f"no listener has the port {reference.port}")
    if reference.section_name is not None and reference.section_name != parent.section:
        return Complaint("NoMatchingParent", f"no listener is called {reference.section_name}")
    meeting = [
        space for space, host in parent.hosts for hostname in hostnames if overlap(host or "*", hostname)
    ]
    if not meeting:
        message = f"no host name of the route is one of the listener's, {parent.hostname or '*'}"
        return Complaint("NoMatchingListenerHostname", message)
    if not {"*", route.namespace}.intersection(meeting):
        message = f"the listener does not allow routes of namespace {route.namespace}"
        return Complaint("NotAllowedByListeners", message)
    if route.kind not in parent.kinds:
        return Complaint("NotAllowedByListeners", f"the listener does not allow {route.kind}s")
    return None
