"""The Docker engine's API over its unix socket: JSON questions and the event stream.

Source: https://docs.docker.com/reference/api/engine/. Paths carry no version, so any engine answers.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

Record = dict[str, Any]
"""A JSON object as the engine wrote it."""


class EngineError(Exception):
    """The engine does not answer, or refuses: which question and why. `status`: of HTTP, if any."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class EventStream:
    """The engine's events, read in batches. A batch that a time-out interrupts is not lost."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self._rest = b""

    async def batch(self) -> list[Record]:
        """All events that have arrived; waits for the first. Raises EngineError at the stream's end."""
        while True:
            try:
                chunk = await self._content.readany()
            except aiohttp.ClientError as error:
                raise EngineError(f"the engine's event stream broke: {error}") from error
            if not chunk:
                raise EngineError("the engine closed its event stream")
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if events := [json.loads(line) for line in lines if line]:
                return events


class Engine:
    """Questions to one engine, each over its own connection: nothing to repair when the engine restarts."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def get(self, path: str, timeout: float = 5.0, **query: object) -> Any:
        """GET `path`; values that are not text are sent as JSON. Raises EngineError."""
        try:
            async with self._session(timeout) as session:
                response = await session.get(_url(path), params=_params(query))
                body = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise EngineError(f"engine at {self.socket}: GET {path}: {why}") from error
        if response.status >= 400:
            raise EngineError(f"engine: GET {path}: {_message(body)}", response.status)
        return body

    async def info(self) -> Record:
        return dict(await self.get("/info"))

    async def version(self) -> Record:
        return dict(await self.get("/version"))

    async def running(self) -> list[str]:
        """Ids of all running containers. Never waits for a container that is being started."""
        return [row["Id"] for row in await self.get("/containers/json")]

    async def inspect(self, container: str, timeout: float = 1.0) -> Record | None:
        """The container's record; None where it is gone. EngineError also when the engine has it locked."""
        try:
            return dict(await self.get(f"/containers/{container}/json", timeout))
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    @asynccontextmanager
    async def events(self, types: list[str], actions: list[str]) -> AsyncIterator[EventStream]:
        """The stream of events from now on. Raises EngineError when it cannot be opened."""
        filters = json.dumps({"type": types, "event": actions})
        limits = aiohttp.ClientTimeout(total=None, connect=5.0)
        connector = aiohttp.UnixConnector(str(self.socket))
        async with aiohttp.ClientSession(connector=connector, timeout=limits) as session:
            try:
                response = await session.get(_url("/events"), params={"filters": filters})
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise EngineError(f"engine at {self.socket}: no event stream: {error}") from error
            async with response:
                if response.status != 200:
                    raise EngineError(f"engine at {self.socket}: events: status {response.status}")
                yield EventStream(response)

    def _session(self, timeout: float) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self.socket), force_close=True),
            timeout=aiohttp.ClientTimeout(total=timeout),
        )


def _url(path: str) -> str:
    return f"http://docker{path}"


def _params(query: dict[str, object]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()}


def _message(body: object) -> str:
    return str(body.get("message", body)) if isinstance(body, dict) else str(body)
