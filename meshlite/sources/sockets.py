"""What a process and its network namespace show in /proc: start time, listening sockets, IPv6 on loopback."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meshlite.model.workload import NetworkNamespace

_LISTEN = "0A"
_CHUNK = 4096


@dataclass(frozen=True, order=True)
class Listening:
    """A TCP socket that accepts connections; `address` as bound, `0.0.0.0` or `::` for all."""

    port: int
    address: str

    @property
    def everywhere(self) -> bool:
        return ipaddress.ip_address(self.address).is_unspecified

    @property
    def loopback_only(self) -> bool:
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback


def listening(pid: int, proc: Path = Path("/proc")) -> frozenset[Listening]:
    """The listening sockets in the process's network namespace; empty where the process is gone.

    The kernel lists these first, so reading stops at the first other socket: ten thousand open connections
    cost nothing. Source: https://docs.kernel.org/networking/proc_net_tcp.html
    """
    found: set[Listening] = set()
    for table in ("tcp", "tcp6"):
        try:
            with (proc / str(pid) / "net" / table).open(buffering=_CHUNK) as file:
                next(file, None)
                found.update(parse(file))
        except OSError:
            continue
    return frozenset(found)


def parse(lines: Iterable[str]) -> Iterator[Listening]:
    """Rows of /proc/net/tcp{,6}, up to the first that does not listen."""
    for line in lines:
        fields = line.split()
        if len(fields) < 4 or fields[3] != _LISTEN:
            return
        address, _, port = fields[1].partition(":")
        yield Listening(int(port, 16), _address(address))


def _address(text: str) -> str:
    """Hexadecimal words in the machine's own byte order (little endian on all machines we run on)."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


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
        inode = path.stat().st_ino
        ipv6 = any(line.split()[-1] == "lo" for line in (proc / str(pid) / "net" / "if_inet6").open())
    except FileNotFoundError:
        if not path.exists():
            return None
        ipv6 = False
    except OSError:
        return None
    return NetworkNamespace(key=str(inode), path=str(path), pid=pid, joined=joined, ipv6=ipv6)


def own_namespace() -> int:
    """The inode of the network namespace that this process itself runs in."""
    return os.stat("/proc/self/ns/net").st_ino
