"""A cell that holds the latest value; watchers always get the newest and skip what they missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Watch(Generic[T]):
    """The latest value of T, and a way to wait for the next one.

    Slow watchers coalesce: after any number of `set` calls they see only the last value. All calls belong
    to one event loop.
    """

    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = asyncio.Event()

    @property
    def value(self) -> T:
        return self._value

    def set(self, value: T) -> None:
        """Publish `value`; an equal value wakes nobody."""
        if value == self._value:
            return
        self._value = value
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def next(self, seen: T) -> T:
        """The first value that is not `seen`: at once where it already differs."""
        while self._value == seen:
            await self._changed.wait()
        return self._value

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield the current value, then the newest one after every change, for ever."""
        while True:
            changed, value = self._changed, self._value
            yield value
            await changed.wait()
