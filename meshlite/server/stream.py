"""The snapshot stream: what each reader is still missing, one line (JSON) at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import lru_cache

from meshlite.model.delta import difference, whole
from meshlite.model.mesh import Snapshot
from meshlite.model.wire import Delta
from meshlite.watch import Watch

HEARTBEAT = 5.0
"""Seconds of silence after which a line without a change is sent."""

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
