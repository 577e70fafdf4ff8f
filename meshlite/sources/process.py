"""A process as /proc shows it: the token of its start, and its network namespace."""

from __future__ import annotations

from pathlib import Path

from meshlite.model.workload import NetworkNamespace


def started(pid: int, proc: Path = Path("/proc")) -> str:
    """A short token that differs for each start of a process with this pid; "" where it is gone.

    Field 22 of /proc/<pid>/stat, in clock ticks since boot; the second field may hold blanks and brackets.
    """
    try:
        text = (proc / str(pid) / "stat").read_text()
    except OSError:
        return ""
    return format(int(text.rpartition(")")[2].split()[19]), "x")


def namespace(pid: int, joined: bool = False, proc: Path = Path("/proc")) -> NetworkNamespace | None:
    """The network namespace of a process; None where the process is gone."""
    path = proc / str(pid) / "ns" / "net"
    try:
        key = str(path.stat().st_ino)
    except OSError:
        return None
    ipv6 = _loopback_has_ipv6(proc / str(pid) / "net" / "if_inet6")
    return NetworkNamespace(key=key, path=str(path), pid=pid, joined=joined, ipv6=ipv6)


def _loopback_has_ipv6(table: Path) -> bool:
    try:
        return any(line.split()[-1] == "lo" for line in table.read_text().splitlines())
    except OSError:
        return False
