"""Detached processes are recognised by pid and start time, and only the right one is ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from meshlite.cli import processes
from meshlite.cli.processes import Process

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Popen[bytes]]:
    child = processes.start(["/bin/sleep", "600"], tmp_path / "log" / "sleep.log", os.environ)
    yield child
    child.kill()
    child.wait()


def test_a_started_process_has_its_own_session_and_log(tmp_path: Path) -> None:
    log = tmp_path / "log" / "x.log"
    code = "import os, sys; print(os.getsid(0) == os.getpid(), sys.stdin.read() == ''); sys.stderr.write('e')"
    processes.start([sys.executable, "-c", code], log, os.environ).wait(60)
    assert sorted(log.read_text().split()) == ["True", "True", "e"]


def test_stop_ends_the_process(sleeper: Popen[bytes]) -> None:
    process = processes.of(sleeper.pid)
    assert process is not None
    assert processes.stop(process, grace=60)
    assert processes.of(sleeper.pid) is None, "a zombie counts as ended"
    assert not processes.stop(process, grace=5)


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    child = processes.start([sys.executable, "-u", "-c", STUBBORN], log, os.environ)
    while "ready" not in log.read_text():
        time.sleep(0.02)
    process = processes.of(child.pid)
    assert process is not None
    assert processes.stop(process, grace=0.1)
    assert child.wait(60) == -9


def test_stop_spares_a_process_that_got_the_same_pid(sleeper: Popen[bytes]) -> None:
    process = processes.of(sleeper.pid)
    assert process is not None
    assert not processes.stop(Process(process.pid, process.started - 1), grace=1)
    assert sleeper.poll() is None


def test_pid_file_names_this_process_and_goes_away(tmp_path: Path) -> None:
    file = tmp_path / "run" / "x.pid"
    with processes.pid_file(file):
        assert processes.recorded(file) == processes.of(os.getpid())
    assert not file.exists()


def test_pid_file_of_another_process_is_respected(sleeper: Popen[bytes], tmp_path: Path) -> None:
    file = tmp_path / "x.pid"
    other = processes.of(sleeper.pid)
    assert other is not None
    processes.note(file, other)
    with pytest.raises(RuntimeError, match=f"process id {sleeper.pid}"), processes.pid_file(file):
        pass
    assert processes.recorded(file) == other


def test_a_started_process_is_named_before_it_can_do_so_itself(tmp_path: Path) -> None:
    """And finds its own name when it comes to it."""
    file, log = tmp_path / "x.pid", tmp_path / "x.log"
    code = "import sys, pathlib; from meshlite.cli import processes\nfile = pathlib.Path(sys.argv[1])\n"
    code += "with processes.pid_file(file): print(processes.recorded(file).pid, flush=True)"
    child = processes.start([sys.executable, "-c", code, str(file)], log, os.environ, file)
    named = processes.recorded(file)
    assert named is None or named.pid == child.pid
    assert child.wait(60) == 0
    assert log.read_text() == f"{child.pid}\n"
    assert not file.exists()


def test_a_process_whose_name_cannot_be_noted_is_not_left_running(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file, where a folder is needed")
    with pytest.raises(OSError, match="run"):
        processes.start(["/bin/sleep", "61"], tmp_path / "x.log", os.environ, tmp_path / "run" / "x.pid")
    lines = [entry.read_bytes() for entry in Path("/proc").glob("[0-9]*/cmdline") if entry.exists()]
    assert b"/bin/sleep\x0061\x00" not in lines


@pytest.mark.parametrize("text", ["", "x", "1", "999999999 1", f"{os.getpid()} 1"])
def test_stale_or_broken_pid_files_name_nobody(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.pid"
    file.write_text(text)
    assert processes.recorded(file) is None
    with processes.pid_file(file):
        assert processes.recorded(file) is not None


def test_wait_sees_the_end(sleeper: Popen[bytes]) -> None:
    process = processes.of(sleeper.pid)
    assert process is not None
    assert not processes.wait(process, 0.05)
    sleeper.kill()
    assert processes.wait(process, 60)
