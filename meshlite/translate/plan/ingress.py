"""Decides where workloads take what comes in, and how much of it: what a Sidecar says of the called side.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/#IstioIngressListener
"""

from __future__ import annotations

from meshlite.model.external import port_protocol
from meshlite.model.networking import IstioIngressListener, Sidecar
from meshlite.model.workload import Port, Workload
from meshlite.translate.plan.caller import matches
from meshlite.translate.plan.catalog import http_of, labels
from meshlite.translate.plan.cluster import Pool
from meshlite.translate.plan.inbound import Ingress
from meshlite.translate.plan.policy import pool
from meshlite.translate.plan.resources import Applied
from meshlite.translate.plan.scope import applying

Sidecars = tuple[Applied[Sidecar], ...]


def with_ingress(workloads: tuple[Workload, ...], sidecars: Sidecars) -> tuple[Workload, ...]:
    """Workloads with the ports on which their Sidecars take calls, as theirs say what is spoken there."""
    if not any(one.spec.ingress for one in sidecars):
        return workloads
    return tuple(_with_ports(one, listeners(sidecars, one)) for one in workloads)


def listeners(sidecars: Sidecars, workload: Workload) -> tuple[IstioIngressListener, ...]:
    found = _applying(sidecars, workload)
    return found.spec.ingress if found is not None else ()


def ingress(sidecars: Sidecars, workload: Workload) -> tuple[tuple[Ingress, ...], Pool | None]:
    """Where its app takes what comes in on which port, and the limits for all of its ports."""
    found = _applying(sidecars, workload)
    if found is None:
        return (), None
    known = {port.number: port for port in workload.ports}
    limits = found.spec.inbound_connection_pool
    places = tuple(_ingress(one, known[one.port.number]) for one in found.spec.ingress)
    return places, pool(limits) if limits is not None else None


def _applying(sidecars: Sidecars, workload: Workload) -> Applied[Sidecar] | None:
    if not sidecars:
        return None
    known = labels(workload)
    return applying(sidecars, workload.namespace, lambda wanted: matches(wanted.items(), known))


def _with_ports(workload: Workload, found: tuple[IstioIngressListener, ...]) -> Workload:
    if not found:
        return workload
    ports = {port.number: port for port in workload.ports}
    for one in found:
        number, protocol = one.port.number, port_protocol(one.port.protocol) or "auto"
        if protocol != "auto" or number not in ports:
            ports[number] = Port(number=number, protocol=protocol, name=one.port.name, origin="resource")
    return workload.model_copy(update={"ports": tuple(ports.values())})


def _ingress(one: IstioIngressListener, port: Port) -> Ingress:
    """`0.0.0.0:8080` means the workload's own address, `127.0.0.1:8080` its loopback."""
    host, _, number = one.default_endpoint.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    return Ingress(
        port.number,
        http_of(port.protocol),
        port.protocol != "auto",
        int(number) if number else port.number,
        host if host in ("127.0.0.1", "::1") else "",
        pool(one.connection_pool) if one.connection_pool is not None else None,
    )
