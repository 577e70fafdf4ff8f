"""Which TCP sockets listen in a network namespace, asked from the kernel by netlink.

/proc/<pid>/net/tcp would do too, but reading it walks through the connection table of the whole machine:
10 ms each time where this takes 0.05. Source: https://man7.org/linux/man-pages/man7/sock_diag.7.html
"""

from __future__ import annotations

import ctypes
import functools
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_DUMP = 0x301
_LISTEN_STATE = 1 << 10
_SKV6ONLY = 11
_CLONE_NEWNET = 0x40000000
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_MESSAGE = struct.Struct("=B3x H2x16s16x12x16xI")
_ATTRIBUTE = struct.Struct("=HH")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, order=True)
class Listening:
    """A TCP socket that accepts connections; `address` as bound, `0.0.0.0` or `::` for all."""

    port: int
    address: str
    v6only: bool = False

    @property
    def everywhere(self) -> bool:
        """Whether it can be reached at every IPv4 address of its namespace."""
        return ipaddress.ip_address(self.address).is_unspecified and not self.v6only

    @property
    def loopback_only(self) -> bool:
        address = ipaddress.ip_address(self.address)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class SocketTable:
    """The listening sockets of one network namespace. It keeps the namespace alive until it is closed."""

    def __init__(self, namespace: str | Path) -> None:
        """Open it for the namespace behind a path, e.g. /proc/<pid>/ns/net. Raises OSError."""
        self._socket = _socket_inside(namespace)

    def read(self) -> Mapping[int, Listening]:
        """What listens now, by inode, which names a socket also in /proc. Raises OSError."""
        found: dict[int, Listening] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _LISTEN_STATE)
            size = _HEADER.size + len(request)
            self._socket.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _DUMP, family, 0) + request)
            found.update(self._answers())
        return found

    def close(self) -> None:
        self._socket.close()

    def _answers(self) -> Iterator[tuple[int, Listening]]:
        while True:
            data = self._socket.recv(65536)
            while len(data) >= _HEADER.size:
                size, kind, *_ = _HEADER.unpack_from(data)
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", data, _HEADER.size)[0]
                    raise OSError(code, os.strerror(code))
                yield parse(data[_HEADER.size : size])
                data = data[(size + 3) & ~3 :]


@functools.lru_cache(maxsize=1024)
def parse(message: bytes) -> tuple[int, Listening]:
    """One `inet_diag_msg` with its attributes: a socket's inode, and where it listens.

    Ports and addresses in it are in network order.

    Of idle sockets the kernel says the same again and again.
    """
    family, port, address, inode = _MESSAGE.unpack_from(message)
    size = 4 if family == socket.AF_INET else 16
    attributes = message[_MESSAGE.size :]
    v6only = False
    while len(attributes) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        v6only |= kind == _SKV6ONLY and attributes[_ATTRIBUTE.size] == 1
        attributes = attributes[max(4, (length + 3) & ~3) :]
    return inode, Listening(socket.ntohs(port), str(ipaddress.ip_address(address[:size])), v6only)


def _socket_inside(namespace: str | Path) -> socket.socket:
    """A netlink socket of that namespace; this thread is there only while it is made."""
    with open("/proc/thread-self/ns/net") as home, open(namespace) as target:
        _enter(target.fileno())
        try:
            return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
