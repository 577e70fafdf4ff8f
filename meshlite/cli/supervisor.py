"""A program of its own: starts server and agent of this host again when they end, where systemd does not.

Run as `python -m meshlite.cli.supervisor <plan file>`; a plan is {name: {"command", "log", "pid_file"}}. It
takes over what runs, by the pid files, and starts what does not run. SIGTERM ends it and nothing else: the
parts go on, and the next supervisor takes them over. It stays for good, so it needs Python's library only,
and sleeps in select(2) until something happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from meshlite.cli import processes
from meshlite.cli.processes import Process

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
GOOD_RUN = 60.0
"""A part that ran for so many seconds is started again as if nothing had happened before."""

PID_FILE = "supervisor.pid"
PLAN = "supervisor.json"
REPORT = "supervised.json"
"""Names in the run folder."""


@dataclass(frozen=True)
class Part:
    """What to start, where its output goes, and where its process is named."""

    name: str
    command: tuple[str, ...]
    log: Path
    pid_file: Path


@dataclass(frozen=True)
class Account:
    """How a part fares. Times are seconds since 1970.

    `failures`: ends in a row, none of them after a good run. `why`: the last one's reason. `began`: since
    when it runs. `due`: when it is started again; 0 while it runs.
    """

    failures: int = 0
    why: str = ""
    began: float = 0.0
    due: float = 0.0


def pause(failures: int) -> float:
    """Seconds to wait after so many ends in a row: 0.1, 0.2, 0.4 … 30, 30, …"""
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE)


class Watch:
    """One part. `handle`: its pidfd, readable when it has ended; None while it does not run."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.account = Account()
        self.handle: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._began = self._due = time.monotonic()

    def waits(self) -> float | None:
        """Seconds until it is to be started; None while it runs."""
        return max(0.0, self._due - time.monotonic()) if self.handle is None else None

    def begin(self) -> None:
        """Take over the process that runs, or start one."""
        self._began, self._log_start = time.monotonic(), size(self.part.log)
        try:
            process = processes.recorded(self.part.pid_file) or self._start()
            self.handle = _handle(process) if process else None
        except OSError as error:
            self._failed(str(error))
            return
        if self.handle is None:
            self._failed("it ended at once")
            return
        self.account = replace(self.account, began=time.time(), due=0.0)

    def ended(self) -> None:
        """Its process is gone: say so and note when to start another."""
        assert self.handle is not None
        os.close(self.handle)
        self.handle = None
        code = self._child.wait() if self._child else 0
        self._child = None
        words = _last_words(self.part.log, self._log_start)
        self._failed(f"killed by {_signal_name(-code)}" if code < 0 else words or silence(self.part.log))

    def _start(self) -> Process | None:
        part = self.part
        self._child = processes.start(part.command, part.log, os.environ, part.pid_file)
        return processes.of(self._child.pid)

    def _failed(self, why: str) -> None:
        good = time.monotonic() - self._began > GOOD_RUN
        failures = 1 if good else self.account.failures + 1
        seconds = pause(failures)
        self._due = time.monotonic() + seconds
        self.account = replace(self.account, failures=failures, why=why, due=time.time() + seconds)
        _log(f"the {self.part.name} has ended ({why}); starting it again in {seconds:.1f} s")


def supervise(parts: Sequence[Part], run: Path, stop: int) -> None:
    """Keep the parts running until `stop` is readable, and say in the run folder how they fare.

    One that the run folder no longer names could not be dismissed, so it starts nothing any more.
    """
    own = processes.of(os.getpid())
    watches = [Watch(part) for part in parts]
    said: Mapping[str, Account] = {}
    while True:
        for watch in watches:
            if watch.waits() == 0.0:
                if processes.recorded(run / PID_FILE) != own:
                    return
                watch.begin()
        accounts = {watch.part.name: watch.account for watch in watches}
        if accounts != said:
            _write_report(run / REPORT, accounts)
            said = accounts
        running = {watch.handle: watch for watch in watches if watch.handle is not None}
        waits = [seconds for watch in watches if (seconds := watch.waits()) is not None]
        ready = select.select([stop, *running], [], [], min(waits, default=None))[0]
        if stop in ready:
            return
        for handle in ready:
            running[handle].ended()


def read_plan(file: Path) -> tuple[Part, ...]:
    """The parts of a plan. OSError or ValueError where there is none."""
    try:
        return tuple(
            Part(name, tuple(map(str, part["command"])), Path(part["log"]), Path(part["pid_file"]))
            for name, part in json.loads(file.read_text()).items()
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no plan") from error


def write_plan(file: Path, parts: Sequence[Part]) -> None:
    rows = {
        part.name: {"command": part.command, "log": str(part.log), "pid_file": str(part.pid_file)}
        for part in parts
    }
    file.write_text(json.dumps(rows))


def read_report(file: Path) -> dict[str, Account]:
    """How each part fares; nothing where nobody has said."""
    try:
        return {name: _account(**row) for name, row in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _account(failures: int, why: str, began: float, due: float) -> Account:
    return Account(int(failures), str(why), float(began), float(due))


def _write_report(file: Path, accounts: Mapping[str, Account]) -> None:
    fresh = file.with_suffix(".new")
    with contextlib.suppress(OSError):
        fresh.write_text(json.dumps({name: asdict(account) for name, account in accounts.items()}))
        fresh.replace(file)


def _handle(process: Process) -> int | None:
    """A pidfd of this very process; None if it has ended."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if processes.of(process.pid) == process:
        return handle
    os.close(handle)
    return None


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _last_words(file: Path, start: int) -> str:
    """Why it ended, as written after byte `start`: error and reason of a Failure, else the last line."""
    end = size(file)
    if end <= start:
        return ""
    with file.open("rb") as opened:
        opened.seek(max(start, end - 4096))
        lines = opened.read().decode(errors="replace").split("\n")
    said = [line.strip()[:300] for line in lines if line.strip()]
    for index in reversed(range(len(said))):
        if said[index].startswith("error: "):
            reasons = [line.removeprefix("why:").strip() for line in said[index:] if line.startswith("why:")]
            return ": ".join([said[index].removeprefix("error: "), *reasons])
    return said[-1] if said else ""


def silence(log: Path) -> str:
    """Why a process that has ended left no word in its log, as far as can be told."""
    try:
        full = os.statvfs(log.parent).f_bavail == 0
    except OSError:
        return f"its log is gone: {log}"
    return f"the disk is full: {log.parent}" if full else "it said nothing"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _log(sentence: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{stamp} WARN  supervisor: {sentence}\n")
        sys.stderr.flush()


def main(plan: Path) -> None:
    """Supervise until SIGTERM or SIGINT."""
    stop, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        with processes.pid_file(plan.with_name(PID_FILE)):
            supervise(read_plan(plan), plan.parent, stop)
    except (OSError, ValueError, RuntimeError) as error:
        _log(f"ends: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
