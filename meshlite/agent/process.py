"""A process that may outlive us, told for good from any later one with the same pid; watched by a pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """`start` is the start time in clock ticks since boot: field 22 of /proc/<pid>/stat, proc_pid_stat(5)."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that now has `pid`. ProcessLookupError where there is none, or only its remains."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError) as error:
            raise ProcessLookupError(f"no process {pid}") from error
        fields = stat[stat.rindex(")") + 2 :].split()
        if fields[0] in "ZX":
            raise ProcessLookupError(f"process {pid} has ended")
        return cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        try:
            return Process.of(self.pid) == self
        except ProcessLookupError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, to this process and no other; to an ended one: nothing."""
        with contextlib.suppress(ProcessLookupError), self._handle() as handle:
            signal.pidfd_send_signal(handle, number)

    def wait(self, timeout: float) -> bool:
        """Block until it has ended; False if it still runs after `timeout` seconds."""
        try:
            with self._handle() as handle:
                return bool(select.select([handle], [], [], timeout)[0])
        except ProcessLookupError:
            return True

    async def ended(self) -> None:
        """Return when it has ended."""
        with contextlib.suppress(ProcessLookupError), self._handle() as handle:
            done = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_reader(handle, done.set)
            try:
                await done.wait()
            finally:
                loop.remove_reader(handle)

    @contextlib.contextmanager
    def _handle(self) -> Iterator[int]:
        handle = os.pidfd_open(self.pid)
        try:
            # Only now does the pid stay ours: check that it was not given to another before.
            if not self.alive:
                raise ProcessLookupError(f"process {self.pid} has ended")
            yield handle
        finally:
            os.close(handle)
