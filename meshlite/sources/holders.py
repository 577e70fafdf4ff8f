"""Which sockets a container's processes hold: what tells those apart that share a network namespace."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_SOCKET = "socket:["


def sockets_of(container: str, pid: int, proc: Path = Path("/proc")) -> frozenset[int] | None:
    """Inodes of their sockets; `pid` is its first process. None where it cannot be told from others.

    Its processes are those in its control group, which bears its id; else those of its namespace of process
    ids, where it has one of its own.
    """
    if container in _groups(pid, proc):
        members = [other for other in _processes(proc) if container in _groups(other, proc)]
    elif (space := _space(str(pid), proc)) and space not in (_space("1", proc), _space("self", proc)):
        members = [other for other in _processes(proc) if _space(str(other), proc) == space]
    else:
        return None
    return frozenset(inode for member in members for inode in _held(member, proc))


def _processes(proc: Path) -> Iterator[int]:
    return (int(name) for name in os.listdir(proc) if name.isdigit())


def _groups(pid: int, proc: Path) -> str:
    try:
        return (proc / str(pid) / "cgroup").read_text()
    except OSError:
        return ""


def _space(pid: str, proc: Path) -> str:
    try:
        return os.readlink(proc / pid / "ns" / "pid")
    except OSError:
        return ""


def _held(pid: int, proc: Path) -> Iterator[int]:
    """Processes may end, and files be closed, while they are looked at."""
    folder = proc / str(pid) / "fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            target = os.readlink(folder / name)
            if target.startswith(_SOCKET):
                yield int(target.removeprefix(_SOCKET).rstrip("]"))
