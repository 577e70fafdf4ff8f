"""One command at a time changes what runs on this host: `up` and `down` take turns.

The lock is a file of the run folder, which `down` removes; so who has waited for it looks whether it is still
there. The kernel gives up the turn of a process that ends in any way.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from meshlite.cli.output import note

TURN_FILE = "turn.lock"
"""In the run folder."""


class Turn:
    """`with Turn(run, "up") as turn: turn.take(); …`; the end of the block gives it up."""

    def __init__(self, run: Path, verb: str) -> None:
        self._file = run / TURN_FILE
        self._verb = verb
        self._lock: int | None = None

    def take(self) -> None:
        """Wait for the turn, and say so if somebody else has it; nothing if it is ours."""
        while self._lock is None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                lock = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except (FileNotFoundError, FileExistsError):
                if self._file.parent.exists() and not self._file.parent.is_dir():
                    raise
                continue  # who ended its turn took the folder away meanwhile
            try:
                self._wait(lock)
                if self._is_file(lock):
                    self._lock, lock = lock, -1
            finally:
                if lock >= 0:
                    os.close(lock)
        with suppress(OSError):
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"meshlite {self._verb} (process {os.getpid()})".encode(), 0)

    def give_up(self) -> None:
        """Let the next one have it, and leave no trace where nothing else is left."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        if self._is_file(lock):
            self._file.unlink()
            with suppress(OSError):
                self._file.parent.rmdir()
        os.close(lock)

    def _wait(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 200, 0).decode(errors="replace") or "another meshlite command"
            note(f"waiting for {holder}")
            fcntl.flock(lock, fcntl.LOCK_EX)

    def _is_file(self, lock: int) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), self._file.stat())
        except FileNotFoundError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_up()
