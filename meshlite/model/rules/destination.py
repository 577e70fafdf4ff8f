"""Istio's verdict on where traffic goes: hosts, subsets, weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.networking.destination import Destination
from meshlite.model.networking.http_route import HTTPRouteDestination
from meshlite.model.networking.virtual_service import RouteDestination
from meshlite.model.rules import forms


def destination(target: Destination, at: Path) -> Iterator[Fault]:
    if target.host == "*":
        yield Fault((*at, "host"), "traffic cannot be sent to every host")
    elif reason := forms.wildcard_domain(target.host):
        yield Fault((*at, "host"), reason)
    if target.subset and (reason := forms.label(target.subset)):
        yield Fault((*at, "subset"), reason)


def weighted(route: Sequence[HTTPRouteDestination | RouteDestination], at: Path) -> Iterator[Fault]:
    for place, part in enumerate(route):
        yield from destination(part.destination, (*at, place, "destination"))
    if len(route) > 1 and not sum(part.weight for part in route):
        yield Fault(at, "all weights are 0: at least one destination must have a share")
