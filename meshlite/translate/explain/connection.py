"""The first steps: whose name it is, which port, and which chain of the listener takes the connection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshlite.model.mesh import Service
from meshlite.translate.explain.request import Request, met
from meshlite.translate.explain.scene import Scene
from meshlite.translate.explain.story import Step
from meshlite.translate.plan.cluster import BLACK_HOLE, PASSTHROUGH
from meshlite.translate.plan.listener import ByProtocol, Choice, Chooser, HttpChain, TcpChain

_ORIGINS = {
    "label": "the label meshlite.ports says so",
    "resource": "a resource's port says so",
    "image": "the image is known for it",
    "exposed": "EXPOSE or the Compose file names the port",
    "listening": "its process listens there",
}


@dataclass(frozen=True)
class Dialled:
    """What the caller dials. `address` is empty where only its own resolver knows."""

    service: Service | None
    host: str
    address: str
    port: int


def named(request: Request, scene: Scene) -> tuple[Dialled, Step]:
    """Raises ValueError where the port must be said."""
    service = scene.service(request.host)
    if service is not None:
        port = request.port or _only(service.name, [one.number for one in service.ports])
        decision = f"service {service.fqdn} at {service.address}, port {port}"
        return Dialled(service, request.host, service.address, port), Step(
            "name", decision, why=_port(service, port)
        )
    external = scene.external(request.host)
    if external is not None:
        port = request.port or _only(request.host, external.ports)
        address = scene.address(external) or _address(request.host)
        decision = f"declared host {external.host}{f' at {address}' if address else ''}, port {port}"
        step = Step("name", decision, ", ".join(external.keys), f"resolution {external.resolution}")
        return Dialled(None, request.host, address, port), step
    port = request.port or 80
    why = "no service and no ServiceEntry has this name as the source sees it"
    return Dialled(None, request.host, _address(request.host), port), Step(
        "name", f"unknown to the mesh, port {port}", why=why
    )


def _only(name: str, ports: Iterable[int]) -> int:
    numbers = sorted(ports)
    if len(numbers) == 1:
        return numbers[0]
    listed = ", ".join(map(str, numbers)) or "no port that is known"
    raise ValueError(f"{name} has {listed}: say which port")


def _port(service: Service, number: int) -> str:
    port = next((port for port in service.ports if port.number == number), None)
    if port is None:
        return f"the service has no port {number}"
    if port.protocol == "auto":
        return f"protocol of port {number}: found out from the first bytes, since nothing declares it"
    return f"protocol of port {number}: {port.protocol}, since {_ORIGINS[port.origin]}"


def _address(host: str) -> str:
    return host if host.replace(".", "").isdigit() or ":" in host else ""


def taken(dialled: Dialled, request: Request, scene: Scene) -> tuple[HttpChain | TcpChain, Step]:
    """The chain of the source's listener that takes the connection."""
    listener = scene.listener
    name, why = _chosen(scene.chooser, dialled, request.http and not request.tls)
    chains: tuple[HttpChain | TcpChain, ...] = (*listener.http, *listener.tcp)
    chain = next(one for one in chains if one.name == name)
    if isinstance(chain, HttpChain):
        return chain, Step("listener", f"HTTP, by the route table {chain.table}", why=why)
    words = {PASSTHROUGH: "passed on to where it was dialled", BLACK_HOLE: "refused"}
    shared = " or ".join(f"{name} (weight {weight})" for name, weight in chain.shares)
    decision = f"TCP, to cluster {shared or chain.cluster}"
    return chain, Step("listener", words.get(chain.cluster, decision), why=why)


def _by_name(chosen: Choice, dialled: Dialled, http: bool, why: str) -> tuple[str, str]:
    """TLS clients ask for the name they dial."""
    if isinstance(chosen, ByProtocol):
        if http:
            return chosen.http, "by its address, and the request is HTTP"
        chosen = chosen.otherwise
    if isinstance(chosen, str):
        return chosen, why
    fitting = (chain for name, chain in chosen.names if _is_named(name, dialled.host.lower()))
    chain = next(fitting, "")
    return (chain, "by its address and server name") if chain else (chosen.otherwise, why)


def _is_named(name: str, host: str) -> bool:
    return host.endswith(name[1:]) if name.startswith("*") else host == name


def _chosen(chooser: Chooser, dialled: Dialled, http: bool) -> tuple[str, str]:
    choice = next((one for one in chooser.ports if one.port == dialled.port), None)
    if choice is not None:
        declared, detected = dict(choice.declared), dict(choice.detected)
        if dialled.address in declared:
            why = "by its address; the protocol is declared"
            return _by_name(declared[dialled.address], dialled, http, why)
        if http and choice.http:
            return choice.http, f"port {dialled.port} may carry HTTP, and the request is HTTP"
        if dialled.address in detected:
            why = "by its address; it does not speak HTTP"
            return _by_name(detected[dialled.address], dialled, http, why)
    elif http and chooser.http:
        return chooser.http, "it speaks HTTP"
    if chooser.fenced is not None and dialled.address and met(chooser.fenced, dialled.address):
        return chooser.fence, "nobody whom the source sees has this address on this port"
    otherwise = choice.otherwise if choice is not None else chooser.otherwise
    return otherwise, f"nothing in the mesh is known on port {dialled.port} at this address"
