"""The status of each resource: conditions, listeners with their routes, parents, addresses.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#gatewaystatus and following
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from meshlite.model.gateway_api import Gateway, GatewayClass, ListenerSet, ParentReference
from meshlite.model.mesh import GATEWAY_API, Resource
from meshlite.translate.gateway_api import tls
from meshlite.translate.gateway_api.conditions import Complaint, Condition, Status, condition, verdict
from meshlite.translate.gateway_api.gateways import AGateway, allows, of
from meshlite.translate.gateway_api.listeners import Opened
from meshlite.translate.gateway_api.parents import Attachments, Owner
from meshlite.translate.gateway_api.world import CONTROLLER, MESH_CONTROLLER, UNMANAGED, World
from meshlite.translate.plan.resources import Applied

Attached = Counter[tuple[Owner, str]]
"""Listener, by its resource and name -> how many routes are attached."""

_FINE = "no errors found"
_CONFLICT = "another listener of the same Gateway takes these connections"


def gateway_class(one: Applied[GatewayClass]) -> Status:
    controller = one.spec.controller_name
    if controller not in (CONTROLLER, MESH_CONTROLLER, UNMANAGED):
        return {}
    generation = one.resource.generation
    return {"conditions": [condition("Accepted", "Accepted", "handled by meshlite", generation)]}


def gateway(one: AGateway, attached: Attached, world: World) -> Status:
    applied, carrier = one.applied, one.carrier
    generation = applied.resource.generation
    references = tls.client_certificate(applied.spec, applied.resource, world)
    conditions = [
        _gateway_accepted(one),
        verdict("Programmed", carrier.missing, ("Programmed", "the gateway is programmed"), generation),
        verdict("ResolvedRefs", references, ("ResolvedRefs", "all references are resolved"), generation),
    ]
    if _lenient(applied.spec):
        message = "clients without a valid certificate are let in"
        conditions.append(
            condition("InsecureFrontendValidationMode", "ConfigurationChanged", message, generation)
        )
    status: Status = {"conditions": conditions}
    if carrier.addresses:
        status["addresses"] = [_address(address) for address in carrier.addresses]
    if one.listeners:
        status["listeners"] = [listener(each, attached) for each in one.listeners]
    sets = sum(any(each.holds for each in listeners) for _, listeners in one.sets)
    return status | ({"attachedListenerSets": sets} if sets else {})


def unmanaged_gateway(one: Applied[Gateway]) -> Status:
    generation = one.resource.generation
    message = "this Gateway is somebody else's: meshlite does not program it"
    return {
        "addresses": [address.model_dump(mode="json", by_alias=True) for address in one.spec.addresses],
        "conditions": [
            condition("Accepted", "Accepted", "the Gateway is accepted", generation),
            condition("Programmed", "Programmed", message, generation),
        ],
    }


def pending_gateway(one: Applied[Gateway], world: World) -> Status:
    """For a Gateway whose class nobody here knows, or which makes no sense here."""
    name = one.spec.gateway_class_name
    if world.controllers.get(name) == MESH_CONTROLLER:
        message = "there are no waypoints: every call already passes the host's proxy"
    else:
        message = f"no GatewayClass {name} is handled here: write istio"
    generation = one.resource.generation
    return {
        "conditions": [
            condition(kind, "Pending", message, generation, status=False)
            for kind in ("Accepted", "Programmed")
        ]
    }


def _gateway_accepted(one: AGateway) -> Condition:
    generation = one.applied.resource.generation
    holding = sum(each.holds for each in one.listeners)
    if one.carrier.wrong is None and holding == 0:
        none = Complaint("ListenersNotValid", "none of the listeners is valid")
        return verdict("Accepted", none, ("", ""), generation)
    good = ("Accepted", "the Gateway is accepted")
    if holding < len(one.listeners):
        good = ("ListenersNotValid", "some of the listeners are not valid")
    infrastructure = one.applied.spec.infrastructure
    parameters = infrastructure.parameters_ref if infrastructure is not None else None
    wrong = one.carrier.wrong
    if wrong is None and parameters is not None and (parameters.group, parameters.kind) != ("", "ConfigMap"):
        message = f"a {parameters.kind} holds no parameters: only a ConfigMap can"
        wrong = Complaint("InvalidParameters", message)
    return verdict("Accepted", wrong, good, generation)


def _lenient(spec: Gateway) -> bool:
    frontend = spec.tls.frontend if spec.tls is not None else None
    if frontend is None:
        return False
    configs = (frontend.default, *(entry.tls for entry in frontend.per_port))
    validations = (config.validation for config in configs if config.validation is not None)
    return any(validation.mode == "AllowInsecureFallback" for validation in validations)


def _address(value: str) -> dict[str, str]:
    return {
        "type": "IPAddress" if value.replace(".", "").isdigit() or ":" in value else "Hostname",
        "value": value,
    }


def listener(one: Opened, attached: Attached) -> Status:
    return {
        "name": one.listener.name,
        "attachedRoutes": attached[one.key, one.listener.name],
        "supportedKinds": [{"group": GATEWAY_API, "kind": kind} for kind in one.kinds],
        "conditions": list(_listener_conditions(one)),
    }


def _listener_conditions(one: Opened) -> Iterator[Condition]:
    generation = one.owner.generation
    clash = Complaint(one.conflict, _CONFLICT) if one.conflict else None
    complaints = dict(one.complaints)
    if clash is not None:
        complaints |= {"Accepted": clash, "Programmed": clash}
    yield verdict("Accepted", complaints.get("Accepted"), ("Accepted", _FINE), generation)
    yield verdict("Conflicted", clash, ("NoConflicts", _FINE), generation, when_good=False)
    yield verdict("Programmed", complaints.get("Programmed"), ("Programmed", _FINE), generation)
    if not one.all_kinds_known:
        kinds = Complaint("InvalidRouteKinds", "some kinds of routes cannot attach to this protocol")
        yield verdict("ResolvedRefs", kinds, ("", ""), generation)
    elif clash is None:
        yield verdict("ResolvedRefs", complaints.get("ResolvedRefs"), ("ResolvedRefs", _FINE), generation)


def listener_set(
    one: Applied[ListenerSet], gateways: Sequence[AGateway], attached: Attached, world: World
) -> Status:
    """Empty where its Gateway is not ours."""
    gateway = next((each for each in gateways if of(each.applied, one)), None)
    if gateway is None:
        return {}
    generation = one.resource.generation
    if not allows(gateway.applied, one.namespace, world):
        message = "the Gateway does not allow it: see its spec.allowedListeners"
        refused = Complaint("NotAllowed", message)
        return {
            "conditions": [
                verdict(kind, refused, ("", ""), generation) for kind in ("Accepted", "Programmed")
            ]
        }
    listeners = next((found for each, found in gateway.sets if each.key == one.key), ())
    carrier = gateway.carrier
    accepted, programmed = carrier.wrong, carrier.missing
    if not any(each.holds for each in listeners):
        none = Complaint("ListenersNotValid", "none of the listeners is valid")
        accepted, programmed = accepted or none, none
    return {
        "conditions": [
            verdict("Accepted", accepted, ("Accepted", "the ListenerSet is accepted"), generation),
            verdict("Programmed", programmed, ("Programmed", "the listeners are programmed"), generation),
        ],
        "listeners": [listener(each, attached) for each in listeners],
    }


def route(
    resource: Resource,
    references: Sequence[ParentReference],
    found: Attachments,
    wrong: Mapping[bool, Complaint | None],
) -> Status:
    """`wrong`: what is wrong with its rules, for the mesh (True) and for gateways (False)."""
    rows = []
    for place, reference in enumerate(references):
        outcome = found.outcomes(reference)
        if outcome is not None:
            mesh, denied = outcome
            rows.append(_parent(resource, place, denied, wrong[mesh]))
    return {"parents": rows}


def _parent(
    resource: Resource, place: int, denied: Complaint | None, wrong: Complaint | None
) -> dict[str, Any]:
    """The reference is repeated as the user wrote it."""
    generation = resource.generation
    written = resource.spec.get("parentRefs") or resource.spec.get("parent_refs")
    return {
        "parentRef": written[place] if isinstance(written, list) else {},
        "controllerName": CONTROLLER,
        "conditions": [
            verdict("Accepted", denied, ("Accepted", "the route is valid"), generation),
            verdict("ResolvedRefs", wrong, ("ResolvedRefs", "all references are resolved"), generation),
        ],
    }


def attached(routes: Iterable[Attachments]) -> Attached:
    return Counter(
        (one.parent.owner, one.parent.section) for found in routes for one in found.allowed if not one.mesh
    )
