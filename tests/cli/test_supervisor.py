"""The supervisor over real processes: what ends is started again, what fails waits longer, and it lets go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from meshlite.cli import processes, supervision, supervisor
from meshlite.cli.lifecycle import server_part
from meshlite.cli.main import root
from meshlite.cli.supervisor import Account, Part, silence
from meshlite.config import Paths, Settings

LIMIT = 60.0

SLEEP = "import time; time.sleep(600)"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run folder; whatever a test has started by its pid files is ended."""
    folder = tmp_path / "run"
    folder.mkdir()
    yield folder
    supervision.dismiss(folder)
    for file in folder.glob("*.pid"):
        if process := processes.recorded(file):
            processes.stop(process, grace=5)


def part(run: Path, name: str, code: str = SLEEP) -> Part:
    return Part(name, (sys.executable, "-c", code), run.parent / "log" / f"{name}.log", run / f"{name}.pid")


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def pid(run: Path, name: str) -> int:
    process = processes.recorded(run / f"{name}.pid")
    return process.pid if process else 0


def test_a_killed_part_is_started_again_and_the_other_is_left_alone(run: Path) -> None:
    supervision.watch(run, [part(run, "server"), part(run, "agent")])
    eventually(lambda: pid(run, "server") and pid(run, "agent"), "both are started")
    server, agent = pid(run, "server"), pid(run, "agent")
    os.kill(server, signal.SIGKILL)
    eventually(lambda: pid(run, "server") not in (0, server), "the server is started again")
    assert pid(run, "agent") == agent
    said = (run.parent / "log" / "supervisor.log").read_text()
    assert "the server has ended (killed by SIGKILL)" in said


def test_what_runs_already_is_taken_over_and_watched(run: Path) -> None:
    server = part(run, "server")
    with processes.start(server.command, server.log, os.environ, server.pid_file) as child:
        supervision.watch(run, [server])
        eventually(lambda: supervisor.read_report(run / supervisor.REPORT), "it has looked around")
        assert pid(run, "server") == child.pid
        child.kill()
        eventually(lambda: pid(run, "server") not in (0, child.pid), "it is started again")


def test_a_supervisor_that_was_killed_leaves_the_parts_and_the_next_takes_them_over(run: Path) -> None:
    parts = [part(run, "server")]
    supervision.watch(run, parts)
    eventually(lambda: pid(run, "server"), "it is started")
    server, first = pid(run, "server"), supervision.watcher(run)
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: supervision.watcher(run) is None, "the supervisor is dead")
    assert pid(run, "server") == server
    supervision.watch(run, parts)
    eventually(lambda: supervision.watcher(run), "there is another supervisor")
    assert supervision.watcher(run) != first
    os.kill(server, signal.SIGKILL)
    eventually(lambda: pid(run, "server") not in (0, server), "the other one starts it again")


def test_dismissed_it_leaves_the_parts_as_they_are(run: Path) -> None:
    supervision.watch(run, [part(run, "server")])
    eventually(lambda: pid(run, "server"), "it is started")
    server = pid(run, "server")
    supervision.dismiss(run)
    assert supervision.watcher(run) is None
    assert not (run / supervisor.PID_FILE).exists()
    assert pid(run, "server") == server
    assert supervision.watched(run) == set()


def test_one_that_is_not_named_any_more_starts_nothing_and_ends(run: Path) -> None:
    supervision.watch(run, [part(run, "server")])
    eventually(lambda: pid(run, "server"), "it is started")
    watcher = supervision.watcher(run)
    assert watcher is not None
    eventually(lambda: supervisor.read_report(run / supervisor.REPORT), "it has looked around")
    (run / supervisor.PID_FILE).unlink()
    os.kill(pid(run, "server"), signal.SIGKILL)
    assert processes.wait(watcher, LIMIT)
    assert pid(run, "server") == 0


def test_one_that_watches_all_of_it_stays_and_one_that_does_not_is_replaced(run: Path) -> None:
    server, agent = part(run, "server"), part(run, "agent")
    supervision.watch(run, [server])
    first = supervision.watcher(run)
    supervision.watch(run, [server])
    assert supervision.watcher(run) == first
    supervision.watch(run, [server, agent])
    assert supervision.watcher(run) != first
    assert supervision.watched(run) == {"server", "agent"}
    eventually(lambda: pid(run, "agent"), "the other part is started, too")


def test_a_part_that_keeps_ending_is_told_of_with_its_last_words(run: Path) -> None:
    code = r"import sys; sys.exit('error: no room\n  why:   the disk is full\n  next:  make some')"
    supervision.watch(run, [part(run, "server", code), part(run, "agent")])
    eventually(lambda: "server" in supervision.troubles(run), "the trouble is noticed")
    assert set(supervision.troubles(run)) == {"server"}
    sentence = supervision.troubles(run)["server"]
    assert "times in a row" in sentence
    assert sentence.endswith("the last time: no room: the disk is full")


def test_the_last_words_of_an_earlier_run_do_not_count(run: Path) -> None:
    server = part(run, "server", "import sys; sys.exit()")
    server.log.parent.mkdir()
    server.log.write_text("error: of yesterday\n")
    supervision.watch(run, [server])
    eventually(lambda: "server" in supervision.troubles(run), "the trouble is noticed")
    assert supervision.troubles(run)["server"].endswith("it said nothing")


def test_status_and_doctor_tell_of_a_server_that_keeps_ending(run: Path) -> None:
    settings = Settings(paths=Paths(state=run.parent / "state", run=run))
    config = run.parent / "meshlite.yaml"
    config.write_text(json.dumps({"paths": {"state": str(settings.paths.state), "run": str(run)}}))
    settings.paths.database.parent.mkdir(parents=True)
    settings.paths.database.write_bytes(b"this was a database once" * 100)
    supervision.watch(run, [server_part(settings, config).watched])
    eventually(lambda: "server" in supervision.troubles(run), "the trouble is noticed")
    for verb in ("status", "doctor"):
        done = CliRunner().invoke(root, ["--config", str(config), verb])
        assert done.exit_code == 1
        assert "times in a row" in done.output
        assert "the file is not a database" in done.output


def test_a_program_that_is_not_there_is_tried_again(run: Path) -> None:
    program = run.parent / "program"
    server = Part("server", (str(program),), run.parent / "log" / "server.log", run / "server.pid")
    supervision.watch(run, [server])
    eventually(lambda: "No such file" in supervision.troubles(run).get("server", ""), "it says why")
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    eventually(lambda: pid(run, "server"), "it is started once it can be")


def test_it_is_small_and_sleeps(run: Path) -> None:
    """Hardly more than an empty Python, and no time that could be counted while nothing happens."""
    supervision.watch(run, [part(run, "server"), part(run, "agent")])
    eventually(lambda: len(supervisor.read_report(run / supervisor.REPORT)) == 2, "it has looked around")
    watcher = supervision.watcher(run)
    assert watcher is not None
    status = dict(line.split(":", 1) for line in Path(f"/proc/{watcher.pid}/status").read_text().splitlines())
    assert int(status["VmRSS"].split()[0]) < 24 * 1024
    before = ticks(watcher.pid)
    time.sleep(1.0)
    assert ticks(watcher.pid) - before <= 1


def ticks(pid: int) -> int:
    """Time used so far, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_pauses_grow_to_a_limit() -> None:
    assert [supervisor.pause(n) for n in (1, 2, 3, 4)] == [0.1, 0.2, 0.4, 0.8]
    assert supervisor.pause(100) == supervisor.LONGEST_PAUSE


@pytest.mark.parametrize(
    ("account", "sentence"),
    [
        (Account(), ""),
        (Account(failures=2, why="x", due=130.0), ""),
        (
            Account(failures=5, why="no room", due=112.0),
            "ended 5 times in a row, next start in 12 s; the last time: no room",
        ),
        (
            Account(failures=5, why="no room", began=90.0),
            "ended 5 times in a row, it runs again for now; the last time: no room",
        ),
        (Account(failures=5, why="no room", began=20.0), ""),
    ],
)
def test_trouble_is_said_while_it_lasts(account: Account, sentence: str) -> None:
    assert supervision.trouble(account, now=100.0) == sentence


def test_a_report_that_cannot_be_read_says_nothing(run: Path) -> None:
    (run / supervisor.REPORT).write_text(json.dumps({"server": {"nonsense": 1}}))
    assert supervisor.read_report(run / supervisor.REPORT) == {}


def test_a_log_that_somebody_took_away_is_said(tmp_path: Path) -> None:
    assert silence(tmp_path / "gone" / "server.log").startswith("its log is gone")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[]", b"7", b'{"server": 1}', b'{"server": {"failures": "x"}}', b'{"a": {}}'],
)
def test_odd_files_in_the_run_folder_stop_nobody(run: Path, content: bytes) -> None:
    for name in (supervisor.PLAN, supervisor.REPORT, "server.pid", "agent.pid"):
        (run / name).write_bytes(content)
    assert supervision.watched(run) == set()
    assert supervision.troubles(run) == {}
    assert processes.recorded(run / "server.pid") is None
    command = [sys.executable, "-m", "meshlite.cli.supervisor", str(run / supervisor.PLAN)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    supervision.watch(run, [part(run, "server")])
    eventually(lambda: pid(run, "server"), "the server is started")
