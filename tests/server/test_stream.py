"""What a reader of the stream gets, also a slow one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from meshlite.model.delta import merge
from meshlite.model.mesh import Service, Snapshot
from meshlite.model.wire import Delta
from meshlite.server.stream import Readers, encoder, lines
from meshlite.watch import Watch
from tests.server.conftest import FakeTime


def snapshot(*names: str) -> Snapshot:
    services = tuple(Service(name=name, namespace="shop", address="240.240.0.1") for name in names)
    return Snapshot(version="v-" + "-".join(names), services=services)


def read(line: bytes) -> dict[str, Any]:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return dict(json.loads(line))


@pytest.fixture
def cell() -> Watch[Snapshot]:
    return Watch(snapshot("a"))


async def test_a_slow_reader_misses_states_in_between_but_never_the_latest(cell: Watch[Snapshot]) -> None:
    reader = lines(cell, "", encoder())
    held = merge(Snapshot(), Delta.model_validate_json(await anext(reader)))
    for number in range(500):
        cell.set(snapshot("a", f"s{number}"))
        await asyncio.sleep(0)
    cell.set(snapshot("b"))
    line = await anext(reader)
    assert len(line) < 300
    assert merge(held, Delta.model_validate_json(line)) == snapshot("b")


async def test_silence_is_filled_with_heartbeats(cell: Watch[Snapshot]) -> None:
    reader = lines(cell, "v-a", encoder(), heartbeat=0.02)
    assert [read(await anext(reader)) for _ in range(3)] == [{"version": "v-a"}] * 3
    cell.set(snapshot("b"))
    assert read(await anext(reader))["removed_services"] == ["a.shop.svc.cluster.local"]
    assert read(await anext(reader)) == {"version": "v-b"}


async def test_readers_who_miss_the_same_share_the_line(cell: Watch[Snapshot]) -> None:
    encode = encoder()
    readers = [lines(cell, "", encode) for _ in range(3)]
    first = [await anext(reader) for reader in readers]
    assert all(line is first[0] for line in first)


async def test_the_reader_of_the_stream_always_ends_at_the_servers_state(cell: Watch[Snapshot]) -> None:
    encode = encoder()
    reader = lines(cell, "", encode)
    held = merge(Snapshot(), Delta.model_validate_json(await anext(reader)))
    for names in ["ab", "", "c", "abc", "a", "b"]:
        cell.set(snapshot(*names))
        held = merge(held, Delta.model_validate_json(await anext(reader)))
        assert held == cell.value


async def test_the_lag_is_that_of_the_slowest_reader(time: FakeTime) -> None:
    published = [time.monotonic]
    readers = Readers(lambda: published[0], time.clock)
    async with asyncio.TaskGroup() as tasks:
        slow, quick = (tasks.create_task(asyncio.sleep(3600)) for _ in range(2))
        for task in (slow, quick):
            readers.told(task)
        time.passes(5)
        assert (len(readers), readers.lag()) == (2, 0.0)
        published[0] = time.monotonic
        time.passes(2)
        readers.told(quick)
        assert readers.lag() == 2.0
        readers.told(slow)
        assert readers.lag() == 0.0
        readers.end()
        assert len(readers) == 0
