"""Commands that change the host take turns, whatever becomes of the one whose turn it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from meshlite.cli.turn import TURN_FILE, Turn

HOLDER = """
import sys, pathlib
from meshlite.cli.turn import Turn
with Turn(pathlib.Path(sys.argv[1]), sys.argv[2]) as turn:
    turn.take()
    print("taken", flush=True)
    sys.stdin.readline()
"""

RACER = """
import sys, pathlib
from meshlite.cli.turn import Turn
for _ in range(200):
    with Turn(pathlib.Path(sys.argv[1]), "up") as turn:
        turn.take()
"""


def holder(run: Path, verb: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(run), verb]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_it_is_taken_once_and_leaves_no_trace(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Turn(run, "up") as turn:
        assert not run.exists()
        turn.take()
        turn.take()
        assert (run / TURN_FILE).exists()
    assert not run.exists()


def test_the_run_folder_stays_while_something_is_in_it(tmp_path: Path) -> None:
    with Turn(tmp_path, "up") as turn:
        turn.take()
        (tmp_path / "agent.sock").touch()
    assert [entry.name for entry in tmp_path.iterdir()] == ["agent.sock"]


def test_the_next_one_says_whom_it_waits_for_and_then_has_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with holder(run, "up") as first:
        assert first.stdout
        assert first.stdin
        assert first.stdout.readline() == "taken\n"
        with holder(run, "down") as second:
            assert second.stdout
            assert second.stderr
            assert second.stderr.readline() == f"waiting for meshlite up (process {first.pid})\n"
            first.stdin.write("\n")
            first.stdin.flush()
            assert second.stdout.readline() == "taken\n"
            assert first.wait(60) == 0
            assert (run / TURN_FILE).exists(), "the first one removes its own file only"
            second.communicate("\n", timeout=60)
    assert not run.exists()


def test_one_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    with holder(tmp_path, "up") as first:
        assert first.stdout
        assert first.stdout.readline() == "taken\n"
        first.kill()
        first.wait(60)
    with Turn(tmp_path, "up") as turn:
        turn.take()


def test_many_at_once_hold_it_one_after_the_other(tmp_path: Path) -> None:
    """Each deletes the file that the others wait for."""
    code = HOLDER.replace("sys.stdin.readline()", "(file := pathlib.Path(sys.argv[3])).touch(exist_ok=False)")
    code += "    import time; time.sleep(0.01); file.unlink()\n"
    command = [sys.executable, "-c", code, str(tmp_path / "run"), "up", str(tmp_path / "inside")]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)]
    said = [one.communicate(timeout=60)[1].decode() for one in several]
    assert [one.returncode for one in several] == [0] * 8, said
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), Turn(tmp_path / "file" / "run", "up") as turn:
        turn.take()


def test_a_folder_that_goes_meanwhile_is_made_again(tmp_path: Path) -> None:
    """In a tight loop, three of them step between each other's every line."""
    command = [sys.executable, "-c", RACER, str(tmp_path / "run")]
    racing = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [one.communicate(timeout=120)[1] for one in racing]
    assert [one.returncode for one in racing] == [0, 0, 0], said


def test_a_file_in_the_folders_place_is_no_reason_to_wait(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with Turn(tmp_path / "run", "up") as turn, pytest.raises(FileExistsError):
        turn.take()
