"""Starting the server where it cannot work: each reason is a sentence, and nothing is left running."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlite import __version__
from meshlite.cli import processes
from meshlite.cli.failure import Failure, Unreachable
from meshlite.cli.lifecycle import end, ensure, process_of, server_part
from meshlite.cli.main import unexpected
from meshlite.config import Paths, Ports, Settings

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, without room for one more byte."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], check=True)
    try:
        with pytest.raises(OSError, match="No space"):
            (place / "fill").write_bytes(bytes(1024 * 1024))
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def refused(tmp_path: Path, state: Path) -> Failure:
    """Why the server did not start with that state folder."""
    config, run = tmp_path / "meshlite.yaml", tmp_path / "run"
    config.write_text(f"paths: {{state: {state}, run: {run}}}\n")
    part = server_part(Settings(paths=Paths(state=state, run=run)), config)
    with pytest.raises(Failure, match="the server did not start") as failure:
        ensure(part, __version__, seconds=60)
    assert processes.recorded(part.pid_file) is None
    return failure.value


@needs_root
def test_a_full_disk_is_said_although_the_log_has_no_room_for_it(tmp_path: Path, full_disk: Path) -> None:
    assert "the disk is full" in refused(tmp_path, full_disk).why


def test_a_file_that_is_no_database_is_named_and_words_of_earlier_runs_are_not_repeated(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    (state / "server").mkdir(parents=True)
    (state / "log").mkdir()
    (state / "server" / "meshlite.db").write_bytes(b"nonsense" * 1000)
    (state / "log" / "server.log").write_text("what the last run said\n")
    why = refused(tmp_path, state).why
    assert f"{state}/server/meshlite.db: the file is not a database" in why
    assert "what the last run said" not in why


def test_a_part_that_is_slow_is_not_called_dead(tmp_path: Path) -> None:
    part = server_part(Settings(paths=Paths(state=tmp_path / "state", run=tmp_path / "run")), None)
    try:
        with pytest.raises(Failure, match="has not answered within 0 s, but still runs"):
            ensure(part, __version__, seconds=0)
    finally:
        end(part)


@needs_root
def test_a_part_whose_socket_is_gone_is_not_called_dead_and_is_started_again(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    part = server_part(settings, tmp_path / "meshlite.yaml")
    try:
        assert ensure(part, __version__, seconds=60) == "started"
        first = process_of(part)
        assert first is not None
        settings.paths.admin_socket.unlink()
        with pytest.raises(Unreachable, match="the server cannot be asked") as failure:
            part.client.get("/v1/health")
        assert failure.value.why == f"process {first.pid} runs, but its socket was deleted"
        assert "up -d" in failure.value.next_step
        assert ensure(part, __version__, seconds=60).startswith("started again")
        assert process_of(part) not in (None, first)
        assert processes.of(first.pid) != first
    finally:
        end(part)


@needs_root
def test_a_part_is_found_and_ended_although_its_pid_file_is_nonsense(tmp_path: Path) -> None:
    part = server_part(settings_of(tmp_path), tmp_path / "meshlite.yaml")
    ensure(part, __version__, seconds=60)
    process = processes.recorded(part.pid_file)
    assert process is not None
    part.pid_file.write_bytes(b"\xffnonsense")
    assert end(part)
    assert processes.of(process.pid) is None


def settings_of(tmp_path: Path) -> Settings:
    """Folders and a port of the test's own, also in the file that the server reads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = Paths(state=tmp_path / "state", run=tmp_path / "run")
    written = f"paths: {{state: {paths.state}, run: {paths.run}}}\nports: {{server: {port}}}\n"
    (tmp_path / "meshlite.yaml").write_text(written)
    return Settings(paths=paths, ports=Ports(server=port))


@needs_root
def test_a_full_run_folder_is_named_and_nothing_runs(tmp_path: Path, full_disk: Path) -> None:
    file = full_disk / "server.pid"
    with pytest.raises(OSError, match="No space") as error:
        processes.start(["/bin/sleep", "62"], tmp_path / "x.log", os.environ, file)
    assert unexpected(error.value).message == f"cannot use {file}"
    assert [entry.name for entry in full_disk.iterdir()] == ["fill"]


def test_a_disk_without_room_is_no_surprise() -> None:
    assert "no room" in unexpected(OSError(28, "No space left on device")).message
