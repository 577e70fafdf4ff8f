"""Envoy's admin interface, over its unix socket; answers are bounded in time and size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp

MAX_BYTES = 64 * 1024 * 1024


class EnvoyAdmin:
    """Asks Envoy. Every call raises ConnectionError where it does not answer, or not well.

    Source: https://www.envoyproxy.io/docs/envoy/latest/operations/admin
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def get(self, path: str, timeout: float = 5.0) -> bytes:
        return await self._call("GET", path, timeout)

    async def post(self, path: str, timeout: float = 5.0) -> bytes:
        return await self._call("POST", path, timeout)

    async def document(self, path: str, timeout: float = 5.0) -> dict[str, Any]:
        """A JSON answer."""
        answer: dict[str, Any] = json.loads(await self.get(path, timeout))
        return answer

    async def _call(self, method: str, path: str, timeout: float) -> bytes:
        connector = aiohttp.UnixConnector(path=str(self._socket))
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=limit) as session,
                session.request(method, f"http://envoy{path}") as response,
            ):
                body = await response.content.read(MAX_BYTES)
                if response.status >= 400:
                    raise ConnectionError(
                        f"Envoy's admin answers {response.status} to {path}: {body[:200]!r}"
                    )
                chunks = [body]
                while chunk := await response.content.read(1 << 16):
                    chunks.append(chunk)
                    if sum(map(len, chunks)) > MAX_BYTES:
                        raise ConnectionError(f"Envoy's answer to {path} is over {MAX_BYTES >> 20} MB")
                return b"".join(chunks)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConnectionError(f"Envoy's admin does not answer: {error or 'timed out'}") from error
