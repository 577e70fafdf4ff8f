"""Istio's verdict on a WorkloadEntry, by itself or as an endpoint of a ServiceEntry."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.networking.workload_entry import WorkloadEntry
from meshlite.model.rules import forms
from meshlite.model.rules.labels import labels
from meshlite.model.scalars import shown

UNIX = "unix://"
_ENGINES = ("docker", "docker.sock", "containerd", "containerd.sock", "podman", "podman.sock")
RULING = frozenset(("meshlite", "systemd", "dbus", *_ENGINES))
"""Names of folders and sockets by which meshlite, engines and the system itself take orders."""


def workload_entry(spec: WorkloadEntry, resource: Resource) -> Iterator[Fault]:
    yield from endpoint(spec, ("spec",))


def endpoint(
    entry: WorkloadEntry, at: Path, ports: Collection[str] | None = None, names: bool = True
) -> Iterator[Fault]:
    """`ports`: names of the service's, if they are known. `names`: its address may be a name to resolve."""
    yield from _address(entry, names, at)
    for name in entry.ports:
        here = (*at, "ports", name)
        if entry.address.startswith(UNIX):
            yield Fault(here, "a unix socket has no ports")
        elif ports is not None and name not in ports:
            yield Fault(here, f"the service has no port named {name}")
        elif reason := forms.label(name):
            yield Fault(here, reason)
    yield from labels(entry.labels, (*at, "labels"))
    if entry.address.startswith(UNIX) and ports is not None and len(ports) != 1:
        yield Fault((*at, "address"), "a unix socket can stand behind one port only: leave one in ports")


def _address(entry: WorkloadEntry, names: bool, at: Path) -> Iterator[Fault]:
    here = (*at, "address")
    if not entry.address:
        if not entry.network:
            yield Fault(here, "is required")
    elif entry.address.startswith(UNIX):
        if reason := unix_path(entry.address):
            yield Fault(here, reason)
    elif not forms.is_address(entry.address):
        if not names:
            yield Fault(here, f"{shown(entry.address)} is not an IP address; names need resolution: DNS")
        elif reason := forms.domain(entry.address):
            yield Fault(here, reason)


def unix_path(address: str) -> str:
    """An absolute path, or `@` and the name of an abstract socket.

    The node proxy opens it, so it must not be one by which its own host is ruled.
    """
    path = address.removeprefix(UNIX)
    if not path.startswith(("/", "@")):
        return "a unix socket needs an absolute path, or @ and the name of an abstract socket"
    parts = PurePosixPath(path).parts
    if ".." in parts or "//" in path:
        return "a unix socket's path is written without .. and //"
    if parts[1:2] in (("proc",), ("sys",), ("dev",)) or RULING & set(parts):
        return "that socket rules its host: callers of the mesh must not reach it"
    return "a unix socket is no folder: leave out the / at the end" if path.endswith("/") else ""
