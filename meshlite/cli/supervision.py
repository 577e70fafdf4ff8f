"""Having server and agent watched: the supervisor is started, asked and dismissed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from meshlite.cli import processes
from meshlite.cli.processes import Process
from meshlite.cli.supervisor import (
    GOOD_RUN,
    PID_FILE,
    PLAN,
    REPORT,
    Account,
    Part,
    read_plan,
    read_report,
    write_plan,
)

TROUBLE = 3
"""So many ends in a row are worth a word."""


@contextmanager
def keeping_watch(run: Path, parts: Sequence[Part]) -> Iterator[None]:
    """The block may start and replace parts; afterwards they are watched.

    Where it does not come to its end, what was watched before is watched again.
    """
    before = watched(run)
    try:
        yield
    except BaseException:
        watch(run, [part for part in parts if part.name in before])
        raise
    watch(run, parts)


def watch(run: Path, parts: Sequence[Part]) -> None:
    """Have the parts watched; a supervisor that does so already stays."""
    if {part.name for part in parts} <= watched(run):
        return
    dismiss(run)
    write_plan(run / PLAN, parts)
    command = [sys.executable, "-m", "meshlite.cli.supervisor", str((run / PLAN).resolve())]
    processes.start(command, parts[0].log.with_name("supervisor.log"), os.environ, run / PID_FILE)


def watched(run: Path) -> set[str]:
    """Names of the parts that somebody watches now."""
    if watcher(run) is None:
        return set()
    try:
        return {part.name for part in read_plan(run / PLAN)}
    except (OSError, ValueError):
        return set()


def watcher(run: Path) -> Process | None:
    return processes.recorded(run / PID_FILE)


def dismiss(run: Path) -> None:
    """End the supervisor, not the parts: whoever ends these wants them to stay so."""
    if process := watcher(run):
        processes.stop(process, grace=10.0)


def troubles(run: Path) -> dict[str, str]:
    """A sentence on each part that keeps ending."""
    accounts = read_report(run / REPORT) if watcher(run) else {}
    said = {name: trouble(account, time.time()) for name, account in accounts.items()}
    return {name: sentence for name, sentence in said.items() if sentence}


def trouble(account: Account, now: float) -> str:
    """What is wrong with the part; nothing where it has run well for a while."""
    waiting = account.due > 0
    if account.failures < TROUBLE or (not waiting and now - account.began > GOOD_RUN):
        return ""
    then = f"next start in {max(0, round(account.due - now))} s" if waiting else "it runs again for now"
    return f"ended {account.failures} times in a row, {then}; the last time: {account.why}"
