"""Decides how connections from outside the mesh enter a workload that lets them in."""

from __future__ import annotations

from meshlite.model.workload import Workload
from meshlite.translate.plan.catalog import DECLARED_HTTP, NOT_HTTP
from meshlite.translate.plan.cluster import INBOUND_PASSTHROUGH
from meshlite.translate.plan.listener import Chooser, HttpChain, PortChoice, TcpChain
from meshlite.translate.plan.outbound import SERVER_FIRST

HTTP = HttpChain("http", cluster=INBOUND_PASSTHROUGH)
TCP = TcpChain("tcp", INBOUND_PASSTHROUGH)


def chooser(workloads: tuple[Workload, ...]) -> Chooser:
    """By the port of the workload; on ports it does not declare, by what is spoken."""
    declared = {
        port.number: HTTP.name if port.protocol in DECLARED_HTTP else TCP.name
        for workload in workloads
        for port in workload.ports
        if port.protocol in DECLARED_HTTP | NOT_HTTP
    }
    ports = tuple(PortChoice(port, chain) for port, chain in sorted(declared.items()))
    return Chooser(ports, TCP.name, HTTP.name)


def silent_ports(workloads: tuple[Workload, ...]) -> tuple[int, ...]:
    declared = {port.number for workload in workloads for port in workload.ports if port.protocol in NOT_HTTP}
    return tuple(sorted(declared | {*SERVER_FIRST}))
