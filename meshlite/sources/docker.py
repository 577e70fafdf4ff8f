"""Workloads from a Docker engine: its events, a full look now and then, and the ports apps really open."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path
from typing import TypeVar

from meshlite.model.workload import Found
from meshlite.sources.engine import Engine, EngineError, EventStream, Record
from meshlite.sources.state_folder import read_record
from meshlite.sources.tracked import Tracked

T = TypeVar("T")

log = logging.getLogger(__name__)

RESYNC_SECONDS = 30.0
LOCKED_SECONDS = 0.5
"""A container that is being started stays locked in the engine: ask again later instead of waiting for it."""
BACK_OFF_SECONDS = (0.1, 2.0)
SILENT_SECONDS = 30.0
"""An engine that takes a connection and does not answer for so long is asked anew."""

_TYPES = ["container", "network"]
_GONE = {"die", "destroy"}
_CHANGED = {"start", "pause", "unpause", "health_status", "rename", "update", "connect", "disconnect"}
_ACTIONS = [*sorted(_GONE | _CHANGED), "kill"]


class DockerSource:
    """The containers that run on one engine. The engine may come and go: what still runs stays in the set."""

    name = "docker"

    def __init__(
        self,
        engine: Engine,
        node: str,
        resync_seconds: float = RESYNC_SECONDS,
        ours: frozenset[int] = frozenset(),
    ) -> None:
        """`ours`: ports that the mesh opens in every namespace; no workload listens there."""
        self._engine = engine
        self._node = node
        self._resync_seconds = resync_seconds
        self._ours = ours
        self._tracked: dict[str, Tracked] = {}
        self._stale: set[str] = set()
        self._next_resync = 0.0
        self._changed = False
        self._root = Path("/var/lib/docker")
        self._pause: asyncio.Timeout | None = None

    async def watch(self) -> AsyncIterator[tuple[Found, ...]]:
        """See `Source.watch`. Before the engine has answered, only what its hook announced is yielded."""
        shortest, longest = BACK_OFF_SECONDS
        wait, known = shortest, False
        while True:
            try:
                async with contextlib.AsyncExitStack() as stack:
                    while (events := await self._connected(stack)) is None:
                        if self._changed:
                            yield self._current()
                    await self._resync()
                    log.info("the engine answers", extra={"fields": {"containers": len(self._tracked)}})
                    wait, known = shortest, True
                    while True:
                        yield self._current()
                        await self._next_change(events)
            except EngineError as error:
                if wait == shortest:
                    log.warning("the engine is away; what runs stays in the mesh: %s", error)
            self._forget_dead()
            if known and self._changed:
                yield self._current()
            await self._unless_woken(wait, asyncio.sleep(wait))
            if self._changed:
                yield self._current()
            wait = min(wait * 2, longest)

    async def _connected(self, stack: contextlib.AsyncExitStack) -> EventStream | None:
        """The engine's events. None where it is silent and there is news: an engine that starts up runs its
        containers, and so our hook, before it answers anybody."""
        events = self._engine.events(_TYPES, _ACTIONS)
        return await self._unless_woken(SILENT_SECONDS, stack.enter_async_context(events))

    async def found_early(self, container: str, pid: int) -> Found | None:
        """A container that is created but not yet started; from now on it is in the set too.

        The engine keeps its lock until we are done, so it must not be asked for it: its state folder is read,
        and where that fails the list of containers, which needs no lock. None: nothing is known of it.
        """
        record = read_record(self._root / "containers", container) or await self._listed(container)
        if record is None:
            return None
        self._track(container, record, pid, early=True)
        self._wake()
        tracked = self._tracked.get(container)
        return tracked.found if tracked else None

    def _current(self) -> tuple[Found, ...]:
        self._changed = False
        return tuple(tracked.found for _, tracked in sorted(self._tracked.items()))

    async def _next_change(self, events: EventStream) -> None:
        """Wait until the set differs from the one last yielded."""
        while not self._changed:
            for event in await self._batch(events):
                self._note(event)
            if self._stale:
                await self._unless_woken(LOCKED_SECONDS, self._inspect(self._stale))
            if time.monotonic() >= self._next_resync:
                await self._resync()
            self._look()

    async def _batch(self, events: EventStream) -> list[Record]:
        """The next events; none where it is time to look at something, or somebody woke us."""
        due = min([self._next_resync, *(tracked.next_look for tracked in self._tracked.values())])
        seconds = due - time.monotonic()
        if self._stale:
            seconds = min(seconds, LOCKED_SECONDS)
        return await self._unless_woken(seconds, events.batch()) or []

    async def _unless_woken(self, seconds: float, work: Awaitable[T]) -> T | None:
        """The result of `work`, or None where its time is up or there is news to be yielded first."""
        try:
            async with asyncio.timeout(max(0.0, seconds)) as self._pause:
                return await work
        except TimeoutError:
            return None
        finally:
            self._pause = None

    def _wake(self) -> None:
        if self._pause is not None and not self._pause.expired():
            self._pause.reschedule(0)

    def _note(self, event: Record) -> None:
        action = str(event.get("Action", "")).partition(":")[0]
        actor = event.get("Actor") or {}
        attributes = actor.get("Attributes") or {}
        container = str(attributes.get("container") if event.get("Type") == "network" else actor.get("ID"))
        tracked = self._tracked.get(container)
        if action == "kill" and tracked:
            self._changed |= tracked.signalled(int(attributes.get("signal") or 0))
        elif action in _GONE:
            self._forget(container)
        elif action == "start" or (action in _CHANGED and tracked and not tracked.early):
            self._stale.add(container)

    def _forget(self, container: str) -> None:
        """It has ended; not so one that was announced early and lives: the news is older than its start."""
        tracked = self._tracked.get(container)
        self._stale.discard(container)
        if tracked and not (tracked.early and tracked.alive):
            self._drop(container)

    def _drop(self, container: str) -> None:
        self._tracked.pop(container).close()
        self._changed = True

    def _forget_dead(self) -> None:
        for container in [name for name, tracked in self._tracked.items() if not tracked.alive]:
            self._forget(container)

    def _look(self) -> None:
        now = time.monotonic()
        for container, tracked in list(self._tracked.items()):
            if tracked.next_look <= now:
                self._changed |= tracked.look(now)
                if tracked.early:
                    self._forget(container)

    async def _resync(self) -> None:
        self._root = Path((await self._engine.info()).get("DockerRootDir") or self._root)
        running = set(await self._engine.running())
        for container in set(self._tracked) - running:
            self._forget(container)
        await self._inspect(running)
        self._next_resync = time.monotonic() + self._resync_seconds

    async def _inspect(self, containers: Iterable[str]) -> None:
        names = list(containers)
        records = await asyncio.gather(*(self._record(name) for name in names))
        for name, record in zip(names, records, strict=True):
            if record is not None:
                self._stale.discard(name)
                self._take(name, record)

    async def _record(self, container: str) -> Record | None:
        """The engine's record; empty for a container that is gone, None where it must be asked again."""
        try:
            return await self._engine.inspect(container, LOCKED_SECONDS) or {}
        except EngineError:
            self._stale.add(container)
            return None

    def _take(self, container: str, record: Record) -> None:
        tracked = self._tracked.get(container)
        state = record.get("State") or {}
        if not (state.get("Running") and state.get("Pid")):
            self._forget(container)
        elif tracked and tracked.same_start(record):
            self._changed |= tracked.renew(record)
        elif not (tracked and tracked.early and tracked.alive):
            self._track(container, record, int(state["Pid"]))

    def _track(self, container: str, record: Record, pid: int, early: bool = False) -> None:
        if container in self._tracked:
            self._drop(container)
        try:
            self._tracked[container] = Tracked(record, pid, self._node, early, ours=self._ours)
            self._changed = True
        except ProcessLookupError:
            log.debug("a container ended before it was looked at: %s", container)

    async def _listed(self, container: str) -> Record | None:
        try:
            rows = await self._engine.get("/containers/json", 1.0, all="1", filters={"id": [container]})
        except EngineError as error:
            log.warning("a container is being created and nothing is known of it: %s", error)
            return None
        return _from_row(rows[0]) if rows else None


def _from_row(row: Record) -> Record:
    """A row of the container list in the shape of a full record, as far as it goes."""
    return {
        "Id": row["Id"],
        "Name": (row.get("Names") or [""])[0],
        "Config": {"Labels": row.get("Labels") or {}, "Image": row.get("Image", "")},
        "HostConfig": row.get("HostConfig") or {},
        "NetworkSettings": row.get("NetworkSettings") or {},
        "Mounts": row.get("Mounts") or [],
        "State": {"Running": True},
    }
