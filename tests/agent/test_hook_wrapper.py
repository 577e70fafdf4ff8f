"""The runtime wrapper with a stand-in for the runtime and the real agent's side of the hook."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlite.agent.hook import HookServer, ask
from meshlite.agent.hook.wrapper import Wrapper, script

CONTAINER = "ab" * 32
RUNTIME = """#!/bin/sh
echo "$@" >> {log}
case "$*" in *boom*) echo broken >&2; exit 7 ;; *create*) echo 4242 > {folder}/pid ;; esac
cat
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="meshlite-"))
    yield made
    shutil.rmtree(made)


class Bench:
    """A wrapper in a folder, and what its runtime and its agent were told."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.folder = folder
        self.socket = folder / "hook.sock"
        self.told: list[tuple[str, int]] = []
        runtime = folder / "runc"
        runtime.write_text(RUNTIME.format(log=folder / "log", folder=folder))
        runtime.chmod(0o755)
        shutil.copy(ask.__file__, folder / "ask.py")
        values = {
            "real": (str(runtime),),
            "python": sys.executable,
            "ask": folder / "ask.py",
            "socket": self.socket,
        }
        self.wrapper = folder / "wrapper"
        self.wrapper.write_text(script(Wrapper(**{**values, **changes})))  # type: ignore[arg-type]
        self.wrapper.chmod(0o755)

    async def call(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run, [self.wrapper, *arguments], input=text, capture_output=True, text=True
        )

    async def create(self, extra: str = "--bundle=/b") -> subprocess.CompletedProcess[str]:
        pid_file = str(self.folder / "pid")
        return await self.call("--root", "/r", "create", extra, "--pid-file", pid_file, CONTAINER)

    async def hear(self, container: str, pid: int) -> None:
        self.told.append((container, pid))

    @property
    def log(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()


async def test_create_runs_the_runtime_then_tells_the_agent(folder: Path) -> None:
    bench = Bench(folder)
    async with HookServer(bench.socket, bench.hear):
        done = await bench.create()
    assert (done.returncode, done.stderr) == (0, "")
    assert bench.told == [(CONTAINER, 4242)]
    assert bench.log == [f"--root /r create --bundle=/b --pid-file {folder}/pid {CONTAINER}"]


async def test_the_container_waits_until_the_agent_is_done(folder: Path) -> None:
    bench = Bench(folder)

    called, done = asyncio.Event(), asyncio.Event()

    async def slowly(container: str, pid: int) -> None:
        called.set()
        await done.wait()

    async with HookServer(bench.socket, slowly), asyncio.TaskGroup() as tasks:
        creating = tasks.create_task(bench.create())
        await called.wait()
        assert not creating.done()
        done.set()
    assert creating.result().returncode == 0


async def test_everything_but_create_passes_untouched(folder: Path) -> None:
    bench = Bench(folder)
    async with HookServer(bench.socket, bench.hear):
        for words in (["state", "x"], ["exec", "--process", "p", CONTAINER], ["features"], ["--version"]):
            done = await bench.call(*words, text="through")
            assert (done.returncode, done.stdout) == (0, "through")
    assert bench.told == []
    assert bench.log == ["state x", f"exec --process p {CONTAINER}", "features", "--version"]


async def test_a_runtime_that_fails_is_reported_as_it_failed(folder: Path) -> None:
    bench = Bench(folder)
    async with HookServer(bench.socket, bench.hear):
        done = await bench.create("--boom")
    assert (done.returncode, done.stderr) == (7, "broken\n")
    assert bench.told == []


async def test_without_an_agent_the_container_starts_all_the_same(folder: Path) -> None:
    bench = Bench(folder)
    assert (await bench.create()).returncode == 0


@pytest.mark.parametrize("missing", ["ask.py", "python"])
async def test_a_broken_installation_keeps_nothing_from_starting(folder: Path, missing: str) -> None:
    bench = Bench(folder, **({"python": "/nonexistent/python"} if missing == "python" else {}))
    (folder / "ask.py").unlink()
    assert (await bench.create()).returncode == 0


async def test_an_agent_that_hangs_or_fails_is_not_waited_for_long(folder: Path) -> None:
    bench = Bench(folder)

    async def hang(container: str, pid: int) -> None:
        await asyncio.Event().wait()

    async def fail(container: str, pid: int) -> None:
        raise RuntimeError("no nft here")

    for handler in (hang, fail):
        async with HookServer(bench.socket, handler, seconds=0.5), asyncio.timeout(60):
            assert (await bench.create()).returncode == 0


async def test_a_socket_that_accepts_and_says_nothing_is_left_after_a_while(folder: Path) -> None:
    bench = Bench(folder, patience=0.5)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(silent, str(bench.socket)):
        start = time.perf_counter()
        async with asyncio.timeout(60):
            assert (await bench.create()).returncode == 0
        assert time.perf_counter() - start > 0.4


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


async def test_fail_closed_refuses_what_is_not_captured_and_ends_its_process(
    folder: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    bench = Bench(folder, fail_closed=True)
    runtime = folder / "runc"
    runtime.write_text(runtime.read_text().replace("4242", str(sleeper.pid)))
    async with HookServer(bench.socket, bench.hear):
        assert (await bench.create()).returncode == 0
        assert sleeper.poll() is None
    refused = await bench.create()
    assert refused.returncode == 1
    assert "fail_closed" in refused.stderr
    assert sleeper.wait(5) == -9


async def test_a_runtime_that_moved_is_found_by_its_name(folder: Path) -> None:
    bench = Bench(folder, real=("/gone/runc",))
    done = await asyncio.to_thread(
        subprocess.run,
        [bench.wrapper, "state", "x"],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0
    assert bench.log == ["state x"]


async def test_the_former_runtimes_own_arguments_come_first(folder: Path) -> None:
    bench = Bench(folder, real=(str(folder / "runc"), "--debug", "a b"))
    await bench.call("state", "x")
    assert bench.log == ["--debug a b state x"]


async def test_what_is_no_announcement_is_turned_away(folder: Path) -> None:
    bench = Bench(folder)
    async with HookServer(bench.socket, bench.hear):
        for line in (b"\n", b"x y\n", b"../../etc 1\n", b"a" * 5000 + b"\n"):
            reader, writer = await asyncio.open_unix_connection(str(bench.socket))
            writer.write(line)
            assert (await reader.read()).startswith(b"failed: ")
            writer.close()
        assert (bench.socket.stat().st_mode & 0o777) == 0o600
    assert bench.told == []
    assert not bench.socket.exists()
