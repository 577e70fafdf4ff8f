"""What happened lately, for people: kept in memory, and written to the log as it happens."""

from __future__ import annotations

import logging
from collections import deque
from typing import Literal

from meshlite.model.wire import Event
from meshlite.server.clock import Clock

KEPT = 1000

Kind = Literal["node", "workload", "resource", "certificate", "token", "access", "server"]


class Events:
    """The latest events, at most KEPT of them. They do not outlive the process; the log does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._log = logging.getLogger("meshlite.server")

    def add(self, kind: Kind, subject: str, message: str, level: int = logging.INFO) -> None:
        """`message` is a sentence about `subject`, e.g. "web-1", "joined"."""
        self._events.append(Event(time=self._clock.wall(), kind=kind, subject=subject, message=message))
        self._log.log(level, "%s %s: %s", kind, subject, message)

    def latest(self, limit: int) -> tuple[Event, ...]:
        """At most `limit`, newest last."""
        return tuple(self._events)[-limit:] if limit > 0 else ()
