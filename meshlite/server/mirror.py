"""The store's records, parsed and in memory: read at once, written to the store first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, cast

from pydantic import BaseModel, ValidationError

from meshlite.server.records import MIRRORED, Record, Table
from meshlite.server.store import Change, Conflict, Entry, Store, Unavailable
from meshlite.watch import Watch


@dataclass(frozen=True)
class Write(Generic[Record]):
    """A record to put, or None to delete it. `expected`: its revision, for tables that are not mirrored."""

    table: Table[Record]
    name: str
    record: Record | None
    expected: int | None = None


class Mirror:
    """All of the mirrored tables. Decide and commit while holding `lock`: then nothing changes in between.

    `aside`: entries that cannot be read, with the reason. They count as absent, and stay in the store until
    they are written or deleted by their key.

    A commit that the store refuses leaves the copy as it was. Should somebody else have written to the store,
    the copy is read again, and the caller gets the store's Conflict.
    """

    def __init__(self, store: Store) -> None:
        self.lock = asyncio.Lock()
        self._store = store
        self._records: dict[str, dict[str, BaseModel]] = {table.prefix: {} for table in MIRRORED}
        self._revisions: dict[str, int] = {}
        self.aside: dict[str, str] = {}
        self.changes: Watch[int] = Watch(0)
        """How often the copy may have changed: whoever waits for that need not look again and again."""

    async def load(self) -> None:
        """Read everything. Raises Unavailable."""
        revisions: dict[str, int] = {}
        aside: dict[str, str] = {}
        for table in MIRRORED:
            entries = await self._store.scan(table.prefix)
            revisions |= {entry.key: entry.revision for entry in entries}
            parsed = dict(readable(table, entries, aside))
            self._records[table.prefix] = cast(dict[str, BaseModel], parsed)
        self._revisions, self.aside = revisions, aside
        self.changes.set(self.changes.value + 1)

    def all(self, table: Table[Record]) -> Mapping[str, Record]:
        """Name -> record."""
        return cast(Mapping[str, Record], self._records[table.prefix])

    def get(self, table: Table[Record], name: str) -> Record | None:
        return self.all(table).get(name)

    async def commit(self, writes: Sequence[Write[Any]]) -> None:
        """All or nothing. Raises Conflict or Unavailable."""
        if not writes:
            return
        try:
            revision = await self._store.commit([self._change(write) for write in writes])
        except Conflict:
            await self.load()
            raise
        for write in writes:
            self._remember(write, revision)
        self.changes.set(self.changes.value + 1)

    def _change(self, write: Write[Any]) -> Change:
        key = write.table.key(write.name)
        value = None if write.record is None else write.record.model_dump_json().encode()
        mirrored = write.table.prefix in self._records
        return Change(key, value, self._revisions.get(key, 0) if mirrored else write.expected)

    def _remember(self, write: Write[Any], revision: int) -> None:
        records = self._records.get(write.table.prefix)
        if records is None:
            return
        key = write.table.key(write.name)
        self.aside.pop(key, None)
        if write.record is None:
            records.pop(write.name, None)
            self._revisions.pop(key, None)
        else:
            records[write.name] = write.record
            self._revisions[key] = revision


def readable(
    table: Table[Record], entries: Iterable[Entry], aside: dict[str, str] | None = None
) -> Iterator[tuple[str, Record]]:
    """Name and record of each entry that can be read; for the others `aside` gets the reason, by key."""
    for entry in entries:
        try:
            yield entry.key.removeprefix(table.prefix), parse(table, entry)
        except Unavailable as error:
            if aside is not None:
                aside[entry.key] = str(error)


def parse(table: Table[Record], entry: Entry) -> Record:
    """An entry's record. Raises Unavailable where it is of a form that this version does not know."""
    try:
        return table.form.model_validate_json(entry.value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise Unavailable(f"stored {entry.key} cannot be read: {reason}") from error
