"""Decides which patches and extensions are for a gateway: for all it does, and for each of its ports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from meshlite.model.networking import EnvoyFilter
from meshlite.translate.node import Module, ModuleState
from meshlite.translate.plan.attachment import Side
from meshlite.translate.plan.caller import matches
from meshlite.translate.plan.catalog import labels
from meshlite.translate.plan.gateway import Opened
from meshlite.translate.plan.gateway_routes import Edge
from meshlite.translate.plan.patch import LISTENERS, ROUTES, Patch, of, selected
from meshlite.translate.plan.plugins import Plugin, chosen
from meshlite.translate.plan.resources import Applied

Filters = tuple[Applied[EnvoyFilter], ...]


def side(opened: Opened, resources: Iterable[str] | None = None) -> Side:
    """A gateway as far as it serves Gateways of these keys; None: in all it does."""
    workload = opened.gate.workload
    known = labels(workload)
    every = (serving.gateway.key for serving in opened.servings)
    keys = opened.keys(every if resources is None else resources)
    return Side(workload.namespace, lambda wanted: matches(wanted.items(), known), gateways=keys)


def patches(opened: Opened, filters: Filters) -> tuple[Patch, ...]:
    """All that are for some part of what a gateway does."""
    return selected(filters, side(opened), "GATEWAY", {})


def extended(
    edge: Edge,
    opened: Opened,
    filters: Filters,
    plugins: tuple[Plugin, ...],
    modules: Mapping[Module, ModuleState],
) -> Edge:
    """What is attached to a Gateway holds for its ports, also where it shares them with others."""
    listeners, of_tables = [], dict[str, tuple[Patch, ...]]()
    for one in edge.listeners:
        those = side(opened, one.resources)
        found = selected(filters, those, "GATEWAY", {})
        extensions = chosen(plugins, those, "CLIENT", modules)
        on_port = tuple(each for each in extensions if each.on(one.entrance.port))
        listeners.append(replace(one, extensions=on_port, patches=of(found, LISTENERS)))
        of_tables |= {chain.table: of(found, ROUTES) for chain in one.chains if chain.table}
    tables = (replace(one, patches=of_tables.get(one.name, ())) for one in edge.tables)
    return Edge(tuple(listeners), tuple(tables))
