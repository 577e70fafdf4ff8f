"""Who asked for which change, and who was refused: appended, chained by hashes, bounded in number."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from itertools import pairwise

from meshlite.model.wire import Audit, AuditEntry
from meshlite.server.clock import Clock
from meshlite.server.mirror import Mirror, Write, readable
from meshlite.server.records import AUDIT
from meshlite.server.store import Store, Unavailable

REFUSALS = 30
"""Refusals of one source that are kept in a minute: nobody pushes others' entries out by asking often."""

_log = logging.getLogger("meshlite.server")


class AuditLog:
    """The last `kept` entries. Made by `open_audit`, which says where the chain goes on."""

    def __init__(
        self, mirror: Mirror, store: Store, clock: Clock, kept: int, last: AuditEntry | None
    ) -> None:
        self._mirror = mirror
        self._store = store
        self._clock = clock
        self._kept = kept
        self._number = last.number if last else 0
        self._hash = last.hash if last else ""
        self._late: list[AuditEntry] = []
        self._minute = 0
        self._refused: Counter[str] = Counter()

    async def record(
        self, who: str, source: str, action: str, subject: str, status: int, reason: str = ""
    ) -> None:
        """On the disk when it returns. What cannot be written now is written with the next entry."""
        if status >= 400 and not self._worth_keeping(source):
            return
        # No wait before the commit: the store keeps the order of commits, so the chain is the file's.
        entry = self._entry(who, source, action, subject, status, reason)
        entries, self._late = [*self._late, entry], []
        old = [number - self._kept for number in (e.number for e in entries) if number > self._kept]
        writes = [Write(AUDIT, _key(e.number), e) for e in entries]
        try:
            await self._mirror.commit([*writes, *(Write(AUDIT, _key(n), None) for n in old)])
        except Unavailable as error:
            self._late = [*entries, *self._late][-self._kept :]
            _log.error("the audit log cannot be written now: %s", error)

    async def latest(self, limit: int, since: float = 0.0, after: int = 0) -> Audit:
        """At most `limit` entries, newest last: not older than `since`, of higher number than `after`."""
        stored = await self._store.scan(AUDIT.prefix)
        entries = [entry for _, entry in readable(AUDIT, stored)]
        whole = len(entries) == len(stored) and intact(entries)
        wanted = tuple(e for e in entries if e.time >= since and e.number > after)
        return Audit(entries=wanted[-limit:] if limit else (), intact=whole)

    def _worth_keeping(self, source: str) -> bool:
        minute = int(self._clock.wall() // 60)
        if minute != self._minute:
            self._minute, self._refused = minute, Counter()
        self._refused[source] += 1
        return self._refused[source] <= REFUSALS

    def _entry(
        self, who: str, source: str, action: str, subject: str, status: int, reason: str
    ) -> AuditEntry:
        draft = AuditEntry(
            number=self._number + 1,
            time=self._clock.wall(),
            who=who,
            source=source,
            action=action,
            subject=subject,
            status=status,
            reason=reason,
            previous=self._hash,
            hash="",
        )
        entry = draft.model_copy(update={"hash": _digest(draft)})
        self._number, self._hash = entry.number, entry.hash
        return entry


async def open_audit(mirror: Mirror, store: Store, clock: Clock, kept: int) -> AuditLog:
    """Goes on where the store's entries end; those above `kept` go. Raises Unavailable."""
    entries = await store.scan(AUDIT.prefix)
    excess = entries[: max(0, len(entries) - kept)]
    await mirror.commit([Write(AUDIT, e.key.removeprefix(AUDIT.prefix), None) for e in excess])
    last = next((entry for _, entry in readable(AUDIT, reversed(entries))), None)
    return AuditLog(mirror, store, clock, kept, last)


def intact(entries: list[AuditEntry]) -> bool:
    """Every entry is as it was written, and none between the first and the last is missing. Pure."""
    if any(entry.hash != _digest(entry) for entry in entries):
        return False
    return all(b.previous == a.hash and b.number == a.number + 1 for a, b in pairwise(entries))


def _digest(entry: AuditEntry) -> str:
    return hashlib.sha256(entry.model_dump_json(exclude={"hash"}).encode()).hexdigest()


def _key(number: int) -> str:
    return f"{number:012d}"
