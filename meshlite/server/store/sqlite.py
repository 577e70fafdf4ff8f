"""The store in one SQLite file, the default. One thread owns it, so the event loop never waits for a disk.

WAL with synchronous=FULL: a commit is acknowledged when it is on the disk, so it survives kill -9 and a power
cut. The sync is shared: commits that wait while one is under way go to disk together in the next transaction.

A file that is deleted lives on for who has it open, and is gone with the process. So a commit is acknowledged
only while the file is where it was; one that is gone is written anew from what is open.
Source: https://www.sqlite.org/howtocorrupt.html#unlink
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from meshlite.server.store import Change, Conflict, Entry, Unavailable, once

T = TypeVar("T")

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE head (revision INTEGER NOT NULL);
    INSERT INTO head VALUES (0);
    """,
)
"""How to get from schema n to n + 1; the file's `user_version` counts those done. Only ever append."""

LOCK_TIMEOUT = 5.0
"""Seconds to wait for another process that holds the file, e.g. a backup."""

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: "the file is locked by another process",
    sqlite3.SQLITE_LOCKED: "the file is locked by another process",
    sqlite3.SQLITE_READONLY: "the file is read-only",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the file is not a database: restore it, or move it away to start afresh",
}


@dataclass(frozen=True)
class _Commit:
    changes: Sequence[Change]
    done: Future[int] = field(default_factory=Future)


@dataclass(frozen=True)
class _Read:
    query: Callable[[sqlite3.Connection], Any]
    done: Future[Any] = field(default_factory=Future)


class SqliteStore:
    """A file that keeps the contract of `Store`. Made by `open_sqlite`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, head: int) -> None:
        self._path = path
        self._connection = connection
        self._head = head
        self._place = _place(path)
        self._mended = ""
        self._jobs: queue.SimpleQueue[_Commit | _Read | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
        self._thread.start()

    async def get(self, key: str) -> Entry | None:
        sql = "SELECT key, value, revision FROM entries WHERE key = ?"
        rows = await self._read(lambda connection: connection.execute(sql, (key,)).fetchall())
        return Entry(*rows[0]) if rows else None

    async def scan(self, prefix: str) -> tuple[Entry, ...]:
        sql = "SELECT key, value, revision FROM entries WHERE key >= ? AND key < ? ORDER BY key"
        bounds = (prefix, prefix + "\U0010ffff")
        rows = await self._read(lambda connection: connection.execute(sql, bounds).fetchall())
        return tuple(Entry(*row) for row in rows)

    async def commit(self, changes: Sequence[Change]) -> int:
        job = _Commit(once(changes))
        self._jobs.put(job)
        return await asyncio.wrap_future(job.done)

    async def check(self) -> str:
        return await self._read(self._look)

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        job = _Read(query)
        self._jobs.put(job)
        result: T = await asyncio.wrap_future(job.done)
        return result

    # --- in the store's own thread from here on ---

    def _serve(self) -> None:
        closing = False
        while not closing:
            jobs = self._waiting()
            closing = None in jobs
            self._write([job for job in jobs if isinstance(job, _Commit)])
            for job in jobs:
                if isinstance(job, _Read):
                    self._answer(job)
        self._connection.close()

    def _waiting(self) -> list[_Commit | _Read | None]:
        jobs = [self._jobs.get()]
        while not self._jobs.empty():
            jobs.append(self._jobs.get())
        return jobs

    def _answer(self, job: _Read) -> None:
        if not job.done.set_running_or_notify_cancel():
            return
        try:
            job.done.set_result(job.query(self._connection))
        except Exception as error:
            job.done.set_exception(self._failure(error))

    def _failure(self, error: Exception) -> Exception:
        """What the caller gets; the thread itself lives on, whatever a job did."""
        return unavailable(self._path, error) if isinstance(error, sqlite3.Error) else error

    def _write(self, jobs: Sequence[_Commit]) -> None:
        """One transaction for all; each job still succeeds or conflicts alone. A failing disk fails all."""
        # Once begun, a commit is not taken back by a caller who stops waiting.
        jobs = [job for job in jobs if job.done.set_running_or_notify_cancel()]
        if not jobs:
            return
        head = self._head
        outcomes: list[int | Conflict] = []
        try:
            self._in_place()
            self._connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                outcomes.append(outcome := _write(self._connection, job.changes, head + 1))
                head = outcome if isinstance(outcome, int) else head
            self._connection.execute("UPDATE head SET revision = ?", (head,))
            self._connection.execute("COMMIT")
            self._in_place()
        except Exception as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for job in jobs:
                job.done.set_exception(self._failure(error))
            return
        self._head = head
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Conflict):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome)

    def _look(self, _connection: sqlite3.Connection) -> str:
        self._in_place()
        mended, self._mended = self._mended, ""
        return mended

    def _in_place(self) -> None:
        """Have the file where it was. Raises Unavailable."""
        place = _place(self._path)
        if place == self._place:
            return
        if place.file is not None and place.file != self._place.file:
            raise Unavailable(
                f"{self._path}: another file was put there while the server runs, so nothing is written any "
                "more: restart the server to use that file, or take it away to have the former one back"
            )
        try:
            self._write_anew()
        except OSError as error:
            raise Unavailable(
                f"{self._path}: was deleted, and cannot be written anew: {error.strerror}"
            ) from error
        self._mended = f"{self._path} was deleted; it is written anew, with all that was in it"

    def _write_anew(self) -> None:
        """A copy of what is open, in the file's place. The old connection deletes by name at its end."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as copy:
            self._connection.backup(copy)
        fresh.replace(self._path)
        self._connection.close()
        for other in _beside(self._path):
            other.unlink(missing_ok=True)
        _sync(self._path.parent)
        self._connection, self._head = _connect(self._path, MIGRATIONS)
        self._place = _place(self._path)


async def open_sqlite(path: Path, migrations: Sequence[str] = MIGRATIONS) -> SqliteStore:
    """Open or create the file (mode 0600), bring its schema up to date. Raises Unavailable saying why not."""
    return SqliteStore(path, *await asyncio.to_thread(_connect, path, migrations))


def unavailable(path: Path, error: sqlite3.Error) -> Unavailable:
    """What SQLite reports, as a sentence. Codes: https://www.sqlite.org/rescode.html"""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return Unavailable(f"{path}: {_REASONS.get(code, str(error))}")


def _connect(path: Path, migrations: Sequence[str]) -> tuple[sqlite3.Connection, int]:
    """The connection, and the revision that the file is at."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            path, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
        )
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise unavailable(path, error) from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        _migrate(path, connection, migrations)
        head = _head(connection)
    except sqlite3.Error as error:
        connection.close()
        raise unavailable(path, error) from error
    except Unavailable:
        connection.close()
        raise
    return connection, head


@dataclass(frozen=True)
class _Place:
    """Which files stand at the database's path and at that of its log (WAL): device and number of each."""

    file: tuple[int, int] | None
    log: tuple[int, int] | None


def _place(path: Path) -> _Place:
    return _Place(_number(path), _number(_beside(path)[0]))


def _number(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _beside(path: Path) -> tuple[Path, Path]:
    """The log and its index. https://www.sqlite.org/walformat.html"""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _head(connection: sqlite3.Connection) -> int:
    """The last revision given, also where its row is gone: no entry has a later one."""
    sql = "SELECT max(revision) FROM {} WHERE typeof(revision) = 'integer'"
    known = [connection.execute(sql.format(table)).fetchone()[0] or 0 for table in ("head", "entries")]
    if connection.execute("SELECT count(*) FROM head").fetchone()[0] != 1:
        connection.executescript(
            f"BEGIN IMMEDIATE; DELETE FROM head; INSERT INTO head VALUES ({max(known)}); COMMIT;"
        )
    return max(known)


def _migrate(path: Path, connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    done: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if done > len(migrations):
        raise Unavailable(f"{path}: written by a newer meshlite (schema {done}, known are {len(migrations)})")
    for number, script in enumerate(migrations[done:], start=done + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


def _write(connection: sqlite3.Connection, changes: Sequence[Change], revision: int) -> int | Conflict:
    """Check every expectation before the first write, so that a conflict leaves nothing behind."""
    if stale := [change.key for change in changes if not _as_expected(connection, change)]:
        return Conflict(stale)
    for change in changes:
        if change.value is None:
            connection.execute("DELETE FROM entries WHERE key = ?", (change.key,))
        else:
            row = (change.key, change.value, revision)
            connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", row)
    return revision


def _as_expected(connection: sqlite3.Connection, change: Change) -> bool:
    if change.expected is None:
        return True
    row = connection.execute("SELECT revision FROM entries WHERE key = ?", (change.key,)).fetchone()
    return change.expected == (row[0] if row else 0)
