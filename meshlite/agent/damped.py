"""A value that changes often and costs much to act on: taken once it has settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

QUIET_SECONDS = 0.3
"""So long a new value must hold to be taken."""
LONGEST_SECONDS = 2.0
"""So late the newest is taken at the latest, however often it changes."""


@dataclass
class Damped(Generic[T]):
    """`taken`: the value in use. `due`: when to ask again, in the clock of the caller; 0: nothing waits."""

    taken: T
    due: float = 0.0
    _newest: T | None = field(default=None)
    _first: float = 0.0

    def follow(self, value: T, now: float) -> T:
        """The value to use, given that `value` is the newest."""
        if value == self.taken:
            self.due, self._newest = 0.0, None
        elif self._newest is None:
            self._newest, self._first, self.due = value, now, now + QUIET_SECONDS
        elif value != self._newest:
            self._newest, self.due = value, min(now + QUIET_SECONDS, self._first + LONGEST_SECONDS)
        if self._newest is not None and now >= self.due:
            self.taken, self._newest, self.due = value, None, 0.0
        return self.taken
