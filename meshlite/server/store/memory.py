"""The store in memory: for tests, and for trying things out. Forgets everything with the process."""

from __future__ import annotations

from collections.abc import Sequence

from meshlite.server.store import Change, Conflict, Entry, once


class MemoryStore:
    """A dict that keeps the contract of `Store`."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._revision = 0

    async def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    async def scan(self, prefix: str) -> tuple[Entry, ...]:
        return tuple(self._entries[key] for key in sorted(self._entries) if key.startswith(prefix))

    async def commit(self, changes: Sequence[Change]) -> int:
        if stale := [change.key for change in once(changes) if not self._as_expected(change)]:
            raise Conflict(stale)
        self._revision += 1
        for change in changes:
            if change.value is None:
                self._entries.pop(change.key, None)
            else:
                self._entries[change.key] = Entry(change.key, change.value, self._revision)
        return self._revision

    async def check(self) -> str:
        return ""

    async def close(self) -> None:
        pass

    def _as_expected(self, change: Change) -> bool:
        held = self._entries.get(change.key)
        return change.expected is None or change.expected == (held.revision if held else 0)
