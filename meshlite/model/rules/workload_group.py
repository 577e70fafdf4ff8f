"""Istio's verdict on a WorkloadGroup."""

from __future__ import annotations

import re
from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.networking.workload_group import ReadinessProbe, WorkloadGroup
from meshlite.model.rules import forms
from meshlite.model.rules.labels import labels
from meshlite.model.rules.workload_entry import UNIX, unix_path
from meshlite.model.scalars import shown

_SPEC: Path = ("spec",)
_HEADER = re.compile(r"[-_A-Za-z0-9]+")


def workload_group(spec: WorkloadGroup, resource: Resource) -> Iterator[Fault]:
    if spec.metadata is not None:
        yield from labels(spec.metadata.labels, (*_SPEC, "metadata", "labels"))
    at = (*_SPEC, "template")
    yield from labels(spec.template.labels, (*at, "labels"))
    unix = spec.template.address.startswith(UNIX)
    if unix and (reason := unix_path(spec.template.address)):
        yield Fault((*at, "address"), reason)
    for name in spec.template.ports:
        if reason := "a unix socket has no ports" if unix else forms.label(name):
            yield Fault((*at, "ports", name), reason)
    if spec.probe is not None:
        yield from _probe(spec.probe, (*_SPEC, "probe"))


def _probe(probe: ReadinessProbe, at: Path) -> Iterator[Fault]:
    if not (probe.http_get or probe.tcp_socket or probe.exec or probe.grpc):
        yield Fault(at, "says not how to probe: set httpGet, tcpSocket, exec or grpc")
    if probe.http_get:
        for place, header in enumerate(probe.http_get.http_headers):
            if not _HEADER.fullmatch(header.name):
                here = (*at, "httpGet", "httpHeaders", place, "name")
                yield Fault(here, f"{shown(header.name)} is not a header's name")
    if probe.exec and not (probe.exec.command and all(probe.exec.command)):
        yield Fault((*at, "exec", "command"), "needs a program and its arguments, none of them empty")
