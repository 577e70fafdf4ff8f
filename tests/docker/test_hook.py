"""The hook on a real engine: captured before the first instruction, in nobody's way, gone without a trace."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from meshlite.agent.capture import Capture, Mode
from meshlite.agent.hook import HookServer, NotLeft, install, uninstall
from meshlite.agent.hook.daemon_json import RUNTIME
from meshlite.model.workload import Found
from meshlite.sources.docker import DockerSource
from tests.docker.private_engine import PrivateEngine, private_engine
from tests.netns.conftest import host
from tests.netns.world import inside, new_socket

__all__ = ["host"]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run an engine"),
    pytest.mark.timeout(300),
]

FIRST_THING = """
import socket
print(socket.create_connection(("240.240.0.1", 80), 3).recv(99).decode())
"""


@pytest.fixture(scope="module")
def shared(image: str) -> Iterator[PrivateEngine]:
    with private_engine(image) as made:
        yield made


@pytest.fixture
async def own(shared: PrivateEngine) -> AsyncIterator[PrivateEngine]:
    """The private engine as it was found, also after a test that failed."""
    shared.daemon_json.unlink(missing_ok=True)
    yield shared
    await asyncio.to_thread(shared.clear)
    await uninstall(shared.settings, shared.api, shared.pid_files)
    shared.daemon_json.unlink(missing_ok=True)


async def docker(own: PrivateEngine, *arguments: str) -> str:
    done = await asyncio.to_thread(own.docker, *arguments, check=False)
    return (done.stdout + done.stderr).strip()


class Agent:
    """What the agent does with an announced container, with a stand-in for the proxy's outbound listener."""

    def __init__(self, own: PrivateEngine, image: str) -> None:
        self.source = DockerSource(own.api, "node-1")
        self.capture = Capture(own.settings)
        self.early: list[Found] = []
        self.last: tuple[Found, ...] = ()

    async def created(self, container: str, pid: int) -> None:
        found = await self.source.found_early(container, pid)
        assert found is not None
        item = await self.capture.attach(found, Mode())
        with inside(item.path):
            listener = new_socket("127.0.0.1")
        listener.bind(("127.0.0.1", 15001))
        await asyncio.start_server(self._greet, sock=listener)
        self.early.append(found)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"captured")
        writer.close()

    async def watch(self) -> None:
        async for found in self.source.watch():
            self.last = found

    async def found(self, name: str, addressed: bool = False) -> Found:
        """A workload of this name, once the engine's list has it, and its addresses."""
        async with asyncio.timeout(60):
            while True:
                for one in self.last:
                    if one.workload.name == name and (one.workload.addresses or not addressed):
                        return one
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running_agent(own: PrivateEngine, image: str) -> AsyncIterator[Agent]:
    agent = Agent(own, image)
    await agent.capture.start()
    state = await install(own.settings, own.api, own.pid_files)
    assert state.active, state.reason
    async with HookServer(own.settings.paths.hook_socket, agent.created), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(agent.watch())
        yield agent
        watching.cancel()
        for key in list(agent.capture.attached):
            await agent.capture.detach(key)


async def test_the_apps_first_instruction_is_captured_already(
    host: None, own: PrivateEngine, image: str
) -> None:
    async with running_agent(own, image) as agent:
        for _ in range(3):
            assert await docker(own, "run", "--rm", image, "python3", "-c", FIRST_THING) == "captured"
        assert len({found.workload.id for found in agent.early}) == 3


async def test_it_is_known_early_with_all_that_matters_and_keeps_its_id(
    host: None, own: PrivateEngine, image: str
) -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "reviews", "version": "v2"}
    words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    async with running_agent(own, image) as agent:
        await docker(
            own, "run", "-d", "--name", "shop-reviews-1", "--expose", "9080", *words, image, "sleep", "60"
        )
        early = agent.early[0]
        assert (early.project, early.workload.service, early.workload.version) == ("shop", "reviews", "v2")
        assert [port.number for port in early.workload.ports] == [9080]
        assert early.workload.health == "starting"
        assert early.hosts_file.endswith("/hosts")
        later = await agent.found("shop-reviews-1", addressed=True)
        assert (later.workload.id, later.hosts_file) == (early.workload.id, early.hosts_file)
        assert later.workload.addresses


async def test_a_restart_is_captured_anew(host: None, own: PrivateEngine, image: str) -> None:
    async with running_agent(own, image) as agent:
        await docker(own, "run", "-d", "--name", "again", image, "sleep", "60")
        await docker(own, "restart", "-t", "0", "again")
        first, second = (found.workload.id for found in agent.early)
        assert first != second
        assert first.partition("-")[0] == second.partition("-")[0]


async def test_a_container_that_joins_anothers_namespace_shares_its_capture(
    host: None, own: PrivateEngine, image: str
) -> None:
    async with running_agent(own, image) as agent:
        await docker(own, "run", "-d", "--name", "owner", image, "sleep", "60")
        owner = agent.early[0]
        await docker(
            own, "run", "-d", "--name", "sidecar", "--network", "container:owner", image, "sleep", "60"
        )
        sidecar = await agent.found("sidecar")
        assert sidecar.namespace is not None
        assert owner.namespace is not None
        assert (sidecar.namespace.key, sidecar.namespace.joined) == (owner.namespace.key, True)
        assert sidecar.hosts_file == owner.hosts_file
        assert list(agent.capture.attached) == [owner.workload.id]


async def test_without_an_agent_containers_start_and_work(own: PrivateEngine, image: str) -> None:
    assert (await install(own.settings, own.api, own.pid_files)).active
    assert await docker(own, "run", "--rm", image, "echo", "alive") == "alive"
    assert await docker(own, "run", "-i", "--rm", image, "sh", "-c", "exit 3; echo no") == ""
    await docker(own, "run", "-d", "--name", "one", image, "sleep", "60")
    assert await docker(own, "exec", "one", "echo", "inside") == "inside"


async def test_fail_closed_refuses_without_an_agent_and_leaves_nothing(
    own: PrivateEngine, image: str
) -> None:
    closed = own.settings.model_copy(update={"fail_closed": True})
    assert (await install(closed, own.api, own.pid_files)).active
    answer = await docker(own, "run", "--name", "one", image, "echo", "alive")
    assert "alive" not in answer
    assert "fail_closed" in answer
    assert await docker(own, "inspect", "-f", "{{.State.Status}} {{.State.Pid}}", "one") == "created 0"
    assert (await install(own.settings, own.api, own.pid_files)).active
    assert await docker(own, "start", "-a", "one") == "alive"


@pytest.mark.parametrize(
    "content", [None, b"{}", b'{ "log-level":   "warn",\n "runtimes": {"x": {"path": "runc"}} }']
)
async def test_the_engines_file_is_afterwards_as_it_was(
    own: PrivateEngine, image: str, content: bytes | None
) -> None:
    file = own.daemon_json
    if content is not None:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o640)
    assert (await install(own.settings, own.api, own.pid_files)).active
    assert (await install(own.settings, own.api, own.pid_files)).active, "twice is fine"
    assert own.default_runtime == RUNTIME
    await docker(own, "run", "-d", "--name", "one", image, "sleep", "60")
    left = await uninstall(own.settings, own.api, own.pid_files)
    assert len(left) == 1
    assert "containers run that were started through it" in left[0]
    assert (file.read_bytes() if file.exists() else None) == content
    assert own.default_runtime == "runc"
    assert RUNTIME not in own.runtimes
    if content is not None:
        assert file.stat().st_mode & 0o777 == 0o640
    assert await docker(own, "exec", "one", "echo", "inside") == "inside"
    assert await docker(own, "restart", "-t", "0", "one") == "one", "also without us"


async def test_a_container_made_with_us_starts_without_us_also_after_the_engines_restart(
    own: PrivateEngine, image: str
) -> None:
    assert (await install(own.settings, own.api, own.pid_files)).active
    await docker(own, "create", "--name", "one", image, "echo", "alive")
    assert await docker(own, "inspect", "-f", "{{.HostConfig.Runtime}}", "one") == RUNTIME
    assert await uninstall(own.settings, own.api, own.pid_files) == []
    assert not (own.settings.paths.state / "runtime").exists()
    assert await docker(own, "start", "-a", "one") == "alive"
    await asyncio.to_thread(own.stop)
    await asyncio.to_thread(own.start)
    assert await docker(own, "start", "-a", "one") == "alive"


async def test_an_engine_that_restarts_keeps_the_hook(host: None, own: PrivateEngine, image: str) -> None:
    async with running_agent(own, image) as agent:
        await asyncio.to_thread(own.stop)
        await asyncio.to_thread(own.start)
        assert own.default_runtime == RUNTIME
        assert await docker(own, "run", "--rm", image, "python3", "-c", FIRST_THING) == "captured"
        assert len(agent.early) == 1


async def test_who_leaves_while_the_engine_starts_does_not_end_it(own: PrivateEngine, image: str) -> None:
    assert (await install(own.settings, own.api, own.pid_files)).active
    await docker(own, "run", "-d", "--restart", "always", "--name", "back", image, "sleep", "300")
    await asyncio.to_thread(own.stop)
    own.launch()
    await asyncio.to_thread(own.wait_for_pid)
    await uninstall(own.settings, own.api, own.pid_files)
    assert not own.daemon_json.exists()
    await asyncio.to_thread(own.wait)
    assert await docker(own, "ps", "--format", "{{.Names}}") == "back"


async def test_an_engine_that_is_away_is_entered_when_it_is_back(own: PrivateEngine) -> None:
    await asyncio.to_thread(own.stop)
    away = await install(own.settings, own.api, own.pid_files)
    assert away.passing
    assert not own.daemon_json.exists()
    await asyncio.to_thread(own.start)
    assert (await install(own.settings, own.api, own.pid_files)).active
    assert own.default_runtime == RUNTIME


async def test_an_edit_by_the_operator_survives(own: PrivateEngine) -> None:
    assert (await install(own.settings, own.api, own.pid_files)).active
    edited = json.loads(own.daemon_json.read_bytes()) | {"log-level": "warn"}
    own.daemon_json.write_text(json.dumps(edited))
    await uninstall(own.settings, own.api, own.pid_files)
    assert json.loads(own.daemon_json.read_bytes()) == {"log-level": "warn"}
    assert own.default_runtime == "runc"


@pytest.mark.parametrize("content", [None, b'{ "log-level":   "warn" }'])
async def test_a_mesh_with_another_state_folder_leaves_the_file_as_the_first_one_found_it(
    own: PrivateEngine, content: bytes | None
) -> None:
    file = own.daemon_json
    if content is not None:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    assert (await install(own.settings, own.api, own.pid_files)).active
    paths = own.settings.paths.model_copy(update={"state": own.folder / "second"})
    second = own.settings.model_copy(update={"paths": paths})
    assert (await install(second, own.api, own.pid_files)).active
    await uninstall(second, own.api, own.pid_files)
    assert (file.read_bytes() if file.exists() else None) == content
    await uninstall(own.settings, own.api, own.pid_files)
    assert (file.read_bytes() if file.exists() else None) == content
    assert own.default_runtime == "runc"


async def test_the_operators_own_default_runtime_is_delegated_to_and_comes_back(
    own: PrivateEngine, image: str
) -> None:
    seen = own.folder / "seen"
    custom = own.folder / "own-runtime"
    custom.write_text(f'#!/bin/sh\necho "$1" >> {seen}\nshift\nexec runc "$@"\n')
    custom.chmod(0o755)
    config = {"runtimes": {"own": {"path": str(custom), "runtimeArgs": ["--mine"]}}, "default-runtime": "own"}
    own.daemon_json.parent.mkdir(exist_ok=True)
    own.daemon_json.write_text(json.dumps(config))
    await asyncio.to_thread(own.stop)
    await asyncio.to_thread(own.start)
    assert (await install(own.settings, own.api, own.pid_files)).active
    seen.unlink(missing_ok=True)
    assert await docker(own, "run", "--rm", image, "echo", "alive") == "alive"
    assert set(seen.read_text().split()) == {"--mine"}
    await uninstall(own.settings, own.api, own.pid_files)
    assert own.default_runtime == "own"
    own.daemon_json.unlink()
    await asyncio.to_thread(own.stop)
    await asyncio.to_thread(own.start)


async def test_an_engine_with_flags_that_rule_us_out_is_left_alone(own: PrivateEngine) -> None:
    await asyncio.to_thread(own.stop)
    await asyncio.to_thread(own.start, "--default-runtime=runc")
    try:
        state = await install(own.settings, own.api, own.pid_files)
        assert not state.active
        assert "--default-runtime" in state.reason
        assert not own.daemon_json.exists()
    finally:
        await asyncio.to_thread(own.stop)
        await asyncio.to_thread(own.start)


async def test_a_file_that_is_no_json_is_left_alone(own: PrivateEngine) -> None:
    own.daemon_json.parent.mkdir(exist_ok=True)
    own.daemon_json.write_text("{ broken")
    state = await install(own.settings, own.api, own.pid_files)
    assert not state.active
    assert str(own.daemon_json) in state.reason
    assert own.daemon_json.read_text() == "{ broken"


async def test_a_file_that_was_broken_meanwhile_is_said_and_left_alone(own: PrivateEngine) -> None:
    assert (await install(own.settings, own.api, own.pid_files)).active
    ours = own.daemon_json.read_text()
    own.daemon_json.write_text("{ broken")
    with pytest.raises(NotLeft, match="by hand"):
        await uninstall(own.settings, own.api, own.pid_files)
    assert own.daemon_json.read_text() == "{ broken"
    own.daemon_json.write_text(ours)


async def test_who_leaves_with_a_full_disk_leaves_the_engines_file_as_it_was(own: PrivateEngine) -> None:
    assert (await install(own.settings, own.api, own.pid_files)).active
    runtime = own.settings.paths.state / "runtime"
    with full_disk(runtime):
        await uninstall(own.settings, own.api, own.pid_files)
        assert not own.daemon_json.exists()
        assert own.default_runtime == "runc"


async def test_an_engine_that_has_not_heard_that_we_left_is_entered_again(
    own: PrivateEngine, image: str
) -> None:
    assert (await install(own.settings, own.api, own.pid_files)).active
    (own.settings.paths.state / "runtime" / "note.json").unlink()
    own.daemon_json.unlink()
    assert own.default_runtime == RUNTIME, "as before, since nobody told it"
    assert (await install(own.settings, own.api, own.pid_files)).active
    assert await docker(own, "run", "--rm", image, "echo", "alive") == "alive"
    assert await uninstall(own.settings, own.api, own.pid_files) == []
    assert own.default_runtime == "runc"


async def test_the_wrapper_goes_when_nothing_runs_through_it_any_more(own: PrivateEngine, image: str) -> None:
    assert (await install(own.settings, own.api, own.pid_files)).active
    await docker(own, "run", "-d", "--name", "one", image, "sleep", "300")
    assert "stays" in (await uninstall(own.settings, own.api, own.pid_files))[0]
    await docker(own, "rm", "-f", "one")
    assert await uninstall(own.settings, own.api, own.pid_files) == []
    assert not (own.settings.paths.state / "runtime").exists()


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """The folder with all its files, on a disk that has no room left."""
    files = {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    modes = {entry.name: entry.stat().st_mode for entry in folder.iterdir()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=True)
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(modes[name])
        with pytest.raises(OSError, match="No space"):
            (folder / "fill").write_bytes(bytes(1024 * 1024))
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_what_a_start_costs_more(host: None, own: PrivateEngine, image: str) -> None:
    async def seconds() -> float:
        start = time.perf_counter()
        await docker(own, "run", "--rm", image, "true")
        return time.perf_counter() - start

    plain = sorted([await seconds() for _ in range(5)])[2]
    async with running_agent(own, image):
        hooked = sorted([await seconds() for _ in range(5)])[2]
    print(f"docker run: {plain * 1000:.0f} ms plain, {hooked * 1000:.0f} ms captured")
    assert hooked - plain < 5, "nobody waits for as long as the wrapper would"
