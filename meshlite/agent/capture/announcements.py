"""Hears from the kernel when somebody else changes our table in a namespace; at rest it costs nothing.

A container with NET_ADMIN can flush its rules, on purpose or by a firewall script. nfnetlink tells every
listener of the namespace what was changed, table by table (linux/netfilter/nf_tables.h, nfnetlink.h).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from meshlite.agent.capture.rules import TABLE

CLONE_NEWNET = 0x40000000
NETLINK_NETFILTER, NFNLGRP_NFTABLES = 12, 7
NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN = 10, 15
TABLE_ATTRIBUTE = 1
"""Messages about a table, chain, rule, set or its elements all begin with the table's name."""

HEADER, FAMILY = struct.Struct("=IHHII"), 4
PAUSE_SECONDS = 1.0
"""Who takes the rules away over and over does not keep us busy."""

_libc = ctypes.CDLL(None, use_errno=True)


class Announcements:
    """One listening socket for each namespace. `changed` is called with its key, at most once a second."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._sockets: dict[str, socket.socket] = {}
        self._ours: set[str] = set()

    def listen(self, key: str, path: str) -> None:
        """From now on. Raises OSError where the namespace is gone."""
        self.end(key)
        with ThreadPoolExecutor(1) as thread:  # which alone changes its namespace, and ends
            self._sockets[key] = thread.submit(_socket_in, path).result()
        self._resume(key, self._sockets[key])

    def end(self, key: str) -> None:
        """The socket would keep the namespace alive. Unknown keys are fine."""
        if found := self._sockets.pop(key, None):
            asyncio.get_running_loop().remove_reader(found)
            found.close()

    @contextlib.contextmanager
    def ours(self, key: str) -> Iterator[None]:
        """What is announced meanwhile we did ourselves."""
        self._ours.add(key)
        try:
            yield
        finally:
            self._ours.discard(key)
            if found := self._sockets.get(key):
                _read(found)

    def _resume(self, key: str, found: socket.socket) -> None:
        if self._sockets.get(key) is found:
            asyncio.get_running_loop().add_reader(found, self._ready, key, found)

    def _ready(self, key: str, found: socket.socket) -> None:
        if not _read(found) or key in self._ours:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(found)
        loop.call_later(PAUSE_SECONDS, self._resume, key, found)
        self._changed(key)


def _socket_in(path: str) -> socket.socket:
    with open(path) as namespace:
        if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER)
    made.bind((0, 1 << NFNLGRP_NFTABLES - 1))
    return made


def _read(found: socket.socket) -> bool:
    """Whether what waits is about our table, or was too much to be kept for us."""
    about_ours = False
    while True:
        try:
            about_ours |= TABLE in tables(found.recv(65536))
        except BlockingIOError:
            return about_ours
        except OSError:  # ENOBUFS: some are lost
            about_ours = True


def tables(data: bytes) -> set[str]:
    """The nftables tables that netlink messages are about; the end of a transaction names none."""
    named = set()
    while len(data) >= HEADER.size:
        length, kind, *_ = HEADER.unpack_from(data)
        message, data = data[HEADER.size : length], data[max(HEADER.size, (length + 3) & ~3) :]
        if kind >> 8 == NFNL_SUBSYS_NFTABLES and kind & 0xFF != NFT_MSG_NEWGEN:
            named |= set(_table(message[FAMILY:]))
    return named


def _table(attributes: bytes) -> Iterator[str]:
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind & 0x3FFF == TABLE_ATTRIBUTE:
            yield attributes[4:length].rstrip(b"\0").decode(errors="replace")
            return
        attributes = attributes[max(4, (length + 3) & ~3) :]
