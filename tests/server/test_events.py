"""Events outlive the process, in a bounded number, also where the store cannot be written for a while."""

from __future__ import annotations

import pytest

from meshlite.server.events import KEPT, Events
from meshlite.server.records import EVENTS
from meshlite.server.store import Change, Unavailable
from meshlite.server.store.memory import MemoryStore
from tests.server.conftest import FakeTime


class FullStore(MemoryStore):
    full = False

    async def commit(self, changes: object) -> int:
        if self.full:
            raise Unavailable("the disk is full")
        return await super().commit(changes)  # type: ignore[arg-type]


async def told(store: MemoryStore, time: FakeTime) -> list[str]:
    """What the next process tells."""
    events = Events(time.clock)
    await events.load(store)
    return [event.message for event in events.latest(2 * KEPT)]


async def test_the_last_of_several_processes_are_kept_in_order(time: FakeTime) -> None:
    store = MemoryStore()
    for run in range(3):
        events = Events(time.clock)
        await events.load(store)
        for number in range(KEPT // 2 + 1):
            events.add("node", "web-1", f"{run}.{number}")
            if number == 7:
                await events.keep(store)
        await events.keep(store)
    messages = await told(store, time)
    assert messages[-1] == f"2.{KEPT // 2}"
    assert messages[0] == "1.2"
    assert len(messages) == len(await store.scan(EVENTS.prefix)) == KEPT


async def test_what_cannot_be_written_now_is_written_later_and_once(time: FakeTime) -> None:
    store, events = FullStore(), Events(time.clock)
    store.full = True
    for number in range(KEPT + 5):
        events.add("node", "web-1", str(number))
    with pytest.raises(Unavailable):
        await events.keep(store)
    store.full = False
    await events.keep(store)
    await events.keep(store)
    assert await told(store, time) == [str(number) for number in range(5, KEPT + 5)]


async def test_one_that_cannot_be_read_is_left_out(time: FakeTime) -> None:
    store, events = MemoryStore(), Events(time.clock)
    events.add("node", "web-1", "joined")
    await events.keep(store)
    await store.commit([Change(EVENTS.key("000000000002"), b"odd"), Change(EVENTS.key("x"), b"odd")])
    assert await told(store, time) == ["joined"]
