"""Doing things in the network namespace of a container: programs of this host, and connections of our own."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.processes import output

_CLONE_NEWNET = 0x40000000


def entering(pid: int) -> list[str]:
    """The head of a command line that runs the rest in the network namespace of process `pid`."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]


def run(pid: int, command: Sequence[str], stdin: str | None = None) -> str:
    return output([*entering(pid), *command], stdin=stdin)


def connect(pid: int, address: str, port: int, timeout: float = 2.0) -> socket.socket:
    """A TCP connection from the namespace of process `pid`. OSError where nobody listens."""
    with ThreadPoolExecutor(1) as executor:  # namespaces belong to threads, and this one ends with its own
        return executor.submit(_connect, pid, address, port, timeout).result()


def _connect(pid: int, address: str, port: int, timeout: float) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if libc.setns(namespace, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(namespace)
    connection = socket.create_connection((address, port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
