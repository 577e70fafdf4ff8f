"""What happened lately, for people: kept in a bounded number, and written to the log as it happens."""

from __future__ import annotations

import logging
from collections import deque
from typing import Literal

from meshlite.model.wire import Event
from meshlite.server.clock import Clock
from meshlite.server.mirror import readable
from meshlite.server.records import EVENTS
from meshlite.server.store import Change, Store

KEPT = 1000

Kind = Literal["node", "workload", "resource", "certificate", "token", "access", "server"]


class Events:
    """The latest events, at most KEPT of them. They outlive the process once `keep` has written them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._unwritten: deque[Event] = deque(maxlen=KEPT)
        self._number = 0
        self._log = logging.getLogger("meshlite.server")

    async def load(self, store: Store) -> None:
        """Go on where the store's events end. Raises Unavailable."""
        entries = await store.scan(EVENTS.prefix)
        self._events.extend(event for _, event in readable(EVENTS, entries))
        names = (entry.key.removeprefix(EVENTS.prefix) for entry in entries)
        self._number = max((int(name) for name in names if name.isdecimal()), default=0)

    async def keep(self, store: Store) -> None:
        """Write what is new. Raises Unavailable; it is written with the next ones then."""
        new = tuple(self._unwritten)
        if not new:
            return
        numbered = {self._number + place: event for place, event in enumerate(new, start=1)}
        written = [
            Change(_key(number), event.model_dump_json().encode()) for number, event in numbered.items()
        ]
        old = [Change(_key(number - KEPT), None) for number in numbered if number > KEPT]
        await store.commit([*written, *old])
        self._number += len(new)
        for event in new:
            if self._unwritten and self._unwritten[0] is event:
                self._unwritten.popleft()

    def add(self, kind: Kind, subject: str, message: str, level: int = logging.INFO) -> None:
        """`message` is a sentence about `subject`, e.g. "web-1", "joined"."""
        event = Event(time=self._clock.wall(), kind=kind, subject=subject, message=message)
        self._events.append(event)
        self._unwritten.append(event)
        self._log.log(level, "%s %s: %s", kind, subject, message)

    def latest(self, limit: int) -> tuple[Event, ...]:
        """At most `limit`, newest last."""
        return tuple(self._events)[-limit:] if limit > 0 else ()


def _key(number: int) -> str:
    return EVENTS.key(f"{number:012d}")
