"""How the server's own state is: what in its store cannot be read, and why nothing can be written now."""

from __future__ import annotations

import contextlib
import logging

from meshlite.model.mesh import Problem
from meshlite.server.events import Events
from meshlite.server.mirror import Mirror
from meshlite.server.store import Store, Unavailable


class Condition:
    """`problems` holds what is wrong now. What changes is told as an event, once."""

    def __init__(self, mirror: Mirror, store: Store, events: Events) -> None:
        self._mirror = mirror
        self._store = store
        self._events = events
        self._unwritable = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        stored = [Problem(resource=key, reason=reason) for key, reason in sorted(self._mirror.aside.items())]
        unwritable = [Problem(resource="store", reason=self._unwritable)] if self._unwritable else []
        return (*unwritable, *stored)

    async def look(self) -> None:
        """Have all that was acknowledged outlive the process where it can, and events too."""
        try:
            mended, unwritable = await self._store.check(), ""
        except Unavailable as error:
            mended, unwritable = "", str(error)
        if not unwritable:
            with contextlib.suppress(Unavailable):
                await self._events.keep(self._store)
        if mended:
            self._events.add("server", "store", mended, logging.WARNING)
        if unwritable != self._unwritable:
            self._unwritable = unwritable
            level = logging.ERROR if unwritable else logging.INFO
            self._events.add("server", "store", unwritable or "can be written again", level)

    def tell(self) -> None:
        """Say at the start what had to be set aside."""
        for key, reason in sorted(self._mirror.aside.items()):
            self._events.add("server", key, reason, logging.ERROR)
