"""The plan for one node: all that Envoy is to do there, decided, not yet in Envoy's terms. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from meshlite.translate.node import Module
from meshlite.translate.plan.cluster import Cluster, EndpointSet, InboundCluster
from meshlite.translate.plan.gateway_listener import GatewayListener
from meshlite.translate.plan.listener import Listener
from meshlite.translate.plan.patch import Added, AddedListener
from meshlite.translate.plan.route import RouteTable
from meshlite.translate.plan.tunnel import Tunnel


@dataclass(frozen=True, slots=True)
class NodePlan:
    """`mark`: the socket mark of every connection that the proxy opens."""

    listeners: tuple[Listener, ...]
    tables: tuple[RouteTable, ...]
    clusters: tuple[Cluster, ...]
    endpoints: tuple[EndpointSet, ...]
    mark: int
    inbound: tuple[InboundCluster, ...] = ()
    added_clusters: tuple[Added, ...] = ()
    added_listeners: tuple[AddedListener, ...] = ()
    modules: tuple[Module, ...] = ()
    gateways: tuple[GatewayListener, ...] = ()
    tunnel: Tunnel | None = None
