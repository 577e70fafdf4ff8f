"""Where the server's state lives: a small key/value contract that SQLite, memory and Consul's KV can keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Entry:
    """A stored value. `revision` is that of the commit that wrote it: it differs after every change."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True)
class Change:
    """One part of a commit: the new value, or None to delete.

    `expected` is the revision that the key must have now; 0: it must not exist; None: whatever it has.
    """

    key: str
    value: bytes | None
    expected: int | None = None


class Conflict(Exception):
    """A commit was refused since these keys were not at the expected revision. Nothing was changed."""

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(f"changed by somebody else meanwhile: {', '.join(keys)}")
        self.keys = tuple(keys)


class Unavailable(Exception):
    """The store cannot work now (disk full, locked, damaged): a sentence for people. Nothing was changed."""


class Store(Protocol):
    """Keys are paths ("nodes/web-1"). Revisions rise over the whole store and survive restarts.

    Every method may raise Unavailable. What `commit` has acknowledged outlives the process, where the store
    outlives it at all.
    """

    async def get(self, key: str) -> Entry | None:
        """The entry at `key`, if there is one."""
        ...

    async def scan(self, prefix: str) -> tuple[Entry, ...]:
        """All entries whose key starts with `prefix`, in the order of their keys."""
        ...

    async def commit(self, changes: Sequence[Change]) -> int:
        """All changes or none; returns the revision that the written entries now have.

        Raises Conflict where a key is not at its expected revision, ValueError for a key given twice.
        """
        ...

    async def check(self) -> str:
        """What was to be mended so that what was acknowledged stays: a sentence, or nothing.

        Raises Unavailable where that cannot be mended.
        """
        ...

    async def close(self) -> None:
        """Finish what was begun and let go. Nothing may be called afterwards."""
        ...


def once(changes: Sequence[Change]) -> Sequence[Change]:
    """The changes, each key at most once; else ValueError, since stores would disagree on what that means."""
    keys = [change.key for change in changes]
    if len(set(keys)) != len(keys):
        raise ValueError("a key is given twice in one commit")
    return changes
