"""Ports of gateways that Envoy could not open, said as problems of the Gateways that ask for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from meshlite.agent.ads import LISTENER, Rejection
from meshlite.model.mesh import Problem


def unopened(
    gateways: Mapping[str, tuple[str, ...]], rejections: Iterable[Rejection], own: Mapping[int, str]
) -> Iterator[Problem]:
    """`gateways`: see Translation; `own`: ports of the mesh's parts on this host, and the setting of each.

    Envoy is asked again and again, so a port may yet become free.
    """
    for rejection in rejections:
        if rejection.type_url == LISTENER:
            for resource in gateways.get(rejection.name, ()):
                yield Problem(resource=resource, reason=_reason(rejection.name, rejection.reason, own))


def _reason(listener: str, said: str, own: Mapping[int, str]) -> str:
    address, _, port = listener.rpartition("/")[2].rpartition("_")
    if port.isdigit() and (setting := own.get(int(port))):
        return f"port {port} ({address}) is meshlite's own: choose another port, or move it by {setting}"
    if "address already in use" in said.lower():
        return f"port {port} ({address}) is taken by another program: stop that, or choose another port"
    return f"port {port} ({address}) cannot be opened: {said}"
