"""Hears from the kernel when somebody writes one of our files anew; at rest it costs nothing.

The engine writes a container's hosts file anew when it starts up, and when the container joins a network:
also between the container's creation and its first instruction. Source: inotify(7).
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import struct
from collections.abc import Callable

IN_CLOSE_WRITE, IN_IGNORED = 0x8, 0x8000
EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)
log = logging.getLogger(__name__)


class Rewrites:
    """`changed` is called with a watched file's path after somebody, maybe we, has written and closed it."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._descriptor = -1
        self._paths: dict[int, str] = {}

    def watch(self, path: str) -> None:
        """From now on; fine where it is watched already. Without the kernel's help nothing is told."""
        if path in self._paths.values():
            return
        if self._descriptor < 0 and not self._open():
            return
        watch = _libc.inotify_add_watch(self._descriptor, path.encode(), IN_CLOSE_WRITE)
        if watch >= 0:
            self._paths[watch] = path

    def end(self, path: str) -> None:
        """Not any more. Unknown paths are fine."""
        for watch in [number for number, watched in self._paths.items() if watched == path]:
            _libc.inotify_rm_watch(self._descriptor, watch)
            del self._paths[watch]
        if not self._paths and self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> bool:
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            why = os.strerror(ctypes.get_errno())
            log.warning("hosts files that the engine writes anew are seen late: %s", why)
            return False
        asyncio.get_running_loop().add_reader(self._descriptor, self._ready)
        return True

    def _ready(self) -> None:
        data, written = os.read(self._descriptor, 65536), set()
        while data:
            watch, mask, _, length = EVENT.unpack_from(data)
            data = data[EVENT.size + length :]
            if mask & IN_IGNORED:
                self._paths.pop(watch, None)
            elif watch in self._paths:
                written.add(self._paths[watch])
        for path in written:
            self._changed(path)
