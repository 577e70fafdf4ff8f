"""The agent's side of the hook: a unix socket on which the wrapper announces containers being created."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

log = logging.getLogger(__name__)

Handler = Callable[[str, int], Awaitable[None]]
"""Called with a container's id and the pid of its first process; returns once it is captured."""

LINE_LIMIT = 256


class HookServer:
    """Serves while it is entered. A handler that fails or takes too long is answered with why.

    Whether the container starts all the same is not decided here but in the wrapper, which must know it also
    when no agent is there. `seconds` must be shorter than the wrapper's own patience.
    """

    def __init__(self, path: Path, handler: Handler, seconds: float = 9.5) -> None:
        self._path = path
        self._handler = handler
        self._seconds = seconds
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> HookServer:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=LINE_LIMIT)
        self._path.chmod(0o600)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _require_root(writer)
            async with asyncio.timeout(self._seconds):
                container, pid = _parse(await reader.readline())
                await self._handler(container, pid)
            writer.write(b"ok\n")
        except (Exception, asyncio.CancelledError) as error:
            why = str(error) or type(error).__name__
            log.warning("a container started without being captured first: %s", why)
            writer.write(f"failed: {why}\n".encode())
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            writer.close()


def _parse(line: bytes) -> tuple[str, int]:
    container, _, pid = line.decode(errors="replace").strip().partition(" ")
    if not (container.isalnum() and pid.isdigit()):
        raise ValueError(f"not an announcement of a container: {line!r}")
    return container, int(pid)


def _require_root(writer: asyncio.StreamWriter) -> None:
    """The socket's mode says so too; the kernel's word is worth more than a file's mode."""
    connection: socket.socket = writer.get_extra_info("socket")
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", packed)
    if uid not in (0, os.geteuid()):
        raise PermissionError(f"user {uid} may not announce containers")
