"""Decides what clients of a gateway meet before anything is routed: policies for it, or for its Gateways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from meshlite.model.mesh import PathNormalization
from meshlite.translate.plan.attachment import Called
from meshlite.translate.plan.catalog import labels
from meshlite.translate.plan.destinations import Destinations
from meshlite.translate.plan.gateway import Opened
from meshlite.translate.plan.gateway_listener import GatewayChain, GatewayListener
from meshlite.translate.plan.gateway_routes import Edge
from meshlite.translate.plan.guard import NOTHING, Guard
from meshlite.translate.plan.guards import Book, ServiceGuard
from meshlite.translate.plan.outbound import target_rules


def guarded(
    edge: Edge,
    opened: Opened,
    view: Destinations,
    book: Book,
    guards: Mapping[str, ServiceGuard],
    normalization: PathNormalization,
) -> Edge:
    """Whoever comes to a private gateway is of the mesh, and has been judged on the caller's side."""
    listeners = (
        replace(
            one,
            entrance=replace(one.entrance, normalization=normalization),
            chains=tuple(_toward(one, chain, view, guards) for chain in one.chains),
            guard=NOTHING if opened.gate.private else _guard(one, opened, book),
        )
        for one in edge.listeners
    )
    return replace(edge, listeners=tuple(listeners))


def _toward(
    one: GatewayListener, chain: GatewayChain, view: Destinations, guards: Mapping[str, ServiceGuard]
) -> GatewayChain:
    """With what the services say that bytes are passed on to: for them the caller is the gateway."""
    identity = one.entrance.source.identity
    found = (target_rules(name, view, guards)[1].by(identity) for name, _ in chain.shares)
    return replace(chain, targets=tuple(dict.fromkeys(rules for rules in found if not rules.empty)))


def _guard(one: GatewayListener, opened: Opened, book: Book) -> Guard:
    workload = opened.gate.workload
    called = Called(workload.namespace, workload.service, labels(workload))
    guard = book.at_gateway(called, opened.keys(one.resources))
    return guard.settled(one.entrance.port, workload.addresses)
