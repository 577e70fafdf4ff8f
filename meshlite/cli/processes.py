"""Processes of this host that outlive the command: start detached, recognise again, end the right one.

A pid file holds "<pid> <start time>": a pid alone may have been given to somebody else since. The start time
is field 22 of /proc/<pid>/stat, in clock ticks since boot. Source: proc_pid_stat(5).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from meshlite.cli.signals import postponed


@dataclass(frozen=True)
class Process:
    """One process for good: no other process has this pair."""

    pid: int
    started: int


def of(pid: int) -> Process | None:
    """The process that now has `pid`; None where there is none, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def recorded(file: Path) -> Process | None:
    """The process a pid file names, if it still runs."""
    try:
        pid, started = (int(part) for part in file.read_text().split())
    except (OSError, ValueError):
        return None
    process = Process(pid, started)
    return process if of(pid) == process else None


def serving(path: Path) -> Process | None:
    """The process that listens on a unix socket, if one does. Source: unix(7), SO_PEERCRED."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return None
        pid, _uid, _gid = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return of(pid)


@contextmanager
def pid_file(file: Path) -> Iterator[None]:
    """Name this process in `file` while the block runs. Raises RuntimeError if another one holds it."""
    own = of(os.getpid())
    assert own is not None
    if (other := recorded(file)) and other != own:
        raise RuntimeError(f"it already runs with process id {other.pid} ({file})")
    note(file, own)
    try:
        yield
    finally:
        if recorded(file) == own:
            file.unlink()


def note(file: Path, process: Process) -> None:
    """Name a process in `file`, which others may read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(0o755)
    # Whoever starts a process and the process itself may do so at the same moment.
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        fresh.write_text(f"{process.pid} {process.started}\n")
        fresh.chmod(0o644)
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from error


def start(
    command: Sequence[str], log: Path, environ: Mapping[str, str], noted_in: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a daemon: session of its own, no terminal, standard error and output appended to `log`.

    `noted_in`: its pid file. It will write that itself, but until then nobody could find it to end it. A
    signal does not come between.
    """
    with postponed():
        child = _start(command, log, environ)
        if noted_in and (process := of(child.pid)):
            try:
                note(noted_in, process)
            except OSError:
                child.kill()
                child.wait()
                raise
    return child


def _start(command: Sequence[str], log: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Its log is for its owner and the group: logs say who called whom."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.parent.chmod(0o750)
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640), "ab") as output:
        log.chmod(0o640)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=dict(environ),
            start_new_session=True,
        )


def stop(process: Process, grace: float) -> bool:
    """SIGTERM, and after `grace` seconds SIGKILL. False if it had ended by itself before."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if of(process.pid) != process:
            return False
        _signal(handle, signal.SIGTERM)
        if not _ended(handle, grace):
            _signal(handle, signal.SIGKILL)
            _ended(handle, 5.0)
        return True
    finally:
        os.close(handle)


def wait(process: Process, seconds: float) -> bool:
    """Whether the process ends within `seconds`."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        return of(process.pid) != process or _ended(handle, seconds)
    finally:
        os.close(handle)


def _ended(handle: int, seconds: float) -> bool:
    """A pidfd becomes readable when its process ends, also while nobody has collected it yet."""
    return bool(select.select([handle], [], [], seconds)[0])


def _signal(handle: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, number)
