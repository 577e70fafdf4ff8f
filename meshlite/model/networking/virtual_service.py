"""VirtualService: how requests to a host are routed.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from meshlite.model.message import Message
from meshlite.model.networking.destination import Destination
from meshlite.model.networking.http_route import HTTPRoute
from meshlite.model.networking.match import L4MatchAttributes, TLSMatchAttributes
from meshlite.model.scalars import Count


class RouteDestination(Message):
    destination: Destination
    weight: Count = 0


class TLSRoute(Message):
    match: tuple[TLSMatchAttributes, ...]
    route: tuple[RouteDestination, ...] = ()


class TCPRoute(Message):
    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class VirtualService(Message):
    """Without `hosts` it is a delegate of another one. Without `gateways` it is for the mesh."""

    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()
