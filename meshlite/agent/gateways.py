"""Ports of gateways that Envoy could not open, said as problems of the Gateways that ask for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from meshlite.agent.ads import LISTENER, Rejection
from meshlite.model.mesh import Problem


def unopened(gateways: Mapping[str, tuple[str, ...]], rejections: Iterable[Rejection]) -> Iterator[Problem]:
    """`gateways`: see Translation. Envoy is asked again and again, so a port may yet become free."""
    for rejection in rejections:
        if rejection.type_url == LISTENER:
            for resource in gateways.get(rejection.name, ()):
                yield Problem(resource=resource, reason=_reason(rejection.name, rejection.reason))


def _reason(listener: str, said: str) -> str:
    address, _, port = listener.rpartition("/")[2].rpartition("_")
    if "address already in use" in said.lower():
        return f"port {port} ({address}) is taken by another program: stop that, or choose another port"
    return f"port {port} ({address}) cannot be opened: {said}"
