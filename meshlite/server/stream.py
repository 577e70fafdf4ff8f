"""The snapshot stream: what each reader is still missing, one line (JSON) at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import Any

from meshlite.model.delta import difference, whole
from meshlite.model.mesh import Snapshot
from meshlite.model.wire import Delta
from meshlite.server.clock import Clock
from meshlite.watch import Watch

HEARTBEAT = 5.0
"""Seconds of silence after which a line without a change is sent."""

Task = asyncio.Task[Any]
Encode = Callable[[Snapshot | None, Snapshot], bytes]


def encoder() -> Encode:
    """Delta lines; the latest are kept, since all readers tend to miss the same."""
    kept: dict[tuple[str, str], bytes] = {}

    def encode(old: Snapshot | None, new: Snapshot) -> bytes:
        versions = (old.version if old else "", new.version)
        if (line := kept.get(versions)) is None:
            line = _line(difference(old, new) if old else whole(new))
            while len(kept) >= 4:
                del kept[next(iter(kept))]
            kept[versions] = line
        return line

    return encode


class Readers:
    """Tasks that serve a stream, ended when the server stops; and since when each has what was newest."""

    def __init__(self, published: Callable[[], float], clock: Clock) -> None:
        """`published`: the monotonic time of the newest snapshot."""
        self._published, self._clock = published, clock
        self._told: dict[Task, float] = {}

    def __len__(self) -> int:
        return len(self._told)

    def __contains__(self, task: Task) -> bool:
        return task in self._told

    def told(self, task: Task) -> None:
        """It has taken a line, which is always about the newest snapshot."""
        self._told[task] = self._clock.monotonic()

    def remove(self, task: Task) -> None:
        self._told.pop(task, None)

    def end(self) -> None:
        """Let every reader go: they come back to the next server."""
        tasks = tuple(self._told)
        self._told.clear()
        for task in tasks:
            task.cancel()

    def lag(self) -> float:
        """Seconds that the slowest has been without the newest snapshot; 0 where all have it."""
        published = self._published()
        behind = any(told < published for told in self._told.values())
        return self._clock.monotonic() - published if behind else 0.0


async def lines(
    snapshots: Watch[Snapshot], version: str, encode: Encode, heartbeat: float = HEARTBEAT
) -> AsyncIterator[bytes]:
    """For a reader who has `version`: what is new now, then every change, and heartbeats in between.

    A reader who is slow to ask for the next line misses states in between, never the latest.
    """
    sent = snapshots.value
    yield beat(sent.version) if sent.version == version else encode(None, sent)
    while True:
        try:
            newest = await asyncio.wait_for(snapshots.next(sent), heartbeat)
        except TimeoutError:
            yield beat(sent.version)
            continue
        yield encode(sent, newest)
        sent = newest


@lru_cache(maxsize=4)
def beat(version: str) -> bytes:
    """A heartbeat: nothing but the version."""
    return Delta(version=version).model_dump_json(include={"version"}).encode() + b"\n"


def _line(delta: Delta) -> bytes:
    return delta.model_dump_json(exclude_defaults=True).encode() + b"\n"
