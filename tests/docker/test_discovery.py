"""What the Docker source says of a real engine's containers, while they come, change and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlite.model.workload import Found, Workload
from meshlite.sources.docker import DockerSource
from meshlite.sources.engine import Engine
from tests.docker.compose import ComposeProject, run
from tests.docker.private_engine import PrivateEngine, private_engine

SERVER = "import http.server as h; h.test(port={port}, bind='{bind}')"


def serving(port: int = 8080, bind: str = "0.0.0.0", after: float = 0.0) -> list[str]:
    return ["python3", "-c", f"import time; time.sleep({after}); " + SERVER.format(port=port, bind=bind)]


class Watcher:
    """Follows the source; keeps the newest set and when it changed."""

    def __init__(self, source: DockerSource, project: str = "") -> None:
        self.source = source
        self.project = project
        self.sets: list[tuple[float, tuple[Found, ...]]] = []

    async def run(self) -> None:
        async for found in self.source.watch():
            mine = tuple(item for item in found if not self.project or item.project == self.project)
            if not self.sets or self.sets[-1][1] != mine:
                self.sets.append((time.monotonic(), mine))

    @property
    def now(self) -> tuple[Found, ...]:
        return self.sets[-1][1] if self.sets else ()

    def one(self, service: str) -> Workload | None:
        return next((item.workload for item in self.now if item.workload.service == service), None)

    async def until(self, holds: Callable[[], Any], seconds: float = 60) -> None:
        """Wait until it holds."""
        start = time.monotonic()
        while not holds():
            assert time.monotonic() - start < seconds, [item.workload for item in self.now]
            await asyncio.sleep(0.005)


@pytest.fixture
async def watching() -> AsyncIterator[Callable[..., Watcher]]:
    async with asyncio.TaskGroup() as tasks:
        running = []

        def watch(socket: Path = Path("/var/run/docker.sock"), project: str = "") -> Watcher:
            watcher = Watcher(DockerSource(Engine(socket), "node-1"), project)
            running.append(tasks.create_task(watcher.run()))
            return watcher

        yield watch
        for task in running:
            task.cancel()


async def test_a_projects_life(
    watching: Callable[..., Watcher], compose_project: Callable[..., ComposeProject]
) -> None:
    project = compose_project(
        {
            "services": {
                "web": {"command": serving(after=0.5), "scale": 2},
                "shy": {"command": ["sh", "-c", "exec python3 -m http.server 9000 --bind $$(hostname -i)"]},
                "job": {"command": ["sleep", "300"]},
                "checked": {
                    "command": serving(),
                    "expose": ["8080"],
                    "healthcheck": {"test": "test -e /tmp/fine", "interval": "0.3s", "retries": 100},
                },
            }
        },
        up=False,
    )
    watcher = watching(project=project.name)
    await asyncio.to_thread(project.up)
    await watcher.until(lambda: len(watcher.now) == 5)
    assert {item.workload.namespace for item in watcher.now} == {project.name}

    webs = [item for item in watcher.now if item.workload.service == "web"]
    assert len({item.workload.id for item in webs}) == 2
    await watcher.until(
        lambda: all(i.workload.ports for i in watcher.now if i.workload.service in ("web", "shy"))
    )
    shy = next(item for item in watcher.now if item.workload.service == "shy")
    assert shy.bound == {9000: shy.workload.addresses[0]}

    checked = watcher.one("checked")
    assert checked is not None
    assert checked.health == "starting"
    await asyncio.to_thread(project.exec, "checked", "touch", "/tmp/fine")
    await watcher.until(lambda: watcher.one("checked").health == "healthy")  # type: ignore[union-attr]

    await asyncio.to_thread(project.compose, "pause", "job")
    await watcher.until(lambda: watcher.one("job").health == "draining")  # type: ignore[union-attr]
    await asyncio.to_thread(project.compose, "unpause", "job")
    await watcher.until(lambda: watcher.one("job").health == "healthy")  # type: ignore[union-attr]

    before = watcher.one("job")
    await asyncio.to_thread(project.compose, "restart", "-t", "0", "job")
    await watcher.until(lambda: watcher.one("job") not in (None, before))
    await asyncio.to_thread(project.compose, "up", "-d", "--scale", "web=1")
    await watcher.until(lambda: len(watcher.now) == 4)


async def test_it_drains_before_it_dies(
    watching: Callable[..., Watcher], compose_project: Callable[..., ComposeProject]
) -> None:
    slow = "import signal, time; signal.signal(10, lambda *_: exit()); time.sleep(600)"
    project = compose_project(
        {"services": {"slow": {"command": ["python3", "-c", slow], "init": False}}}, up=False
    )
    watcher = watching(project=project.name)
    await asyncio.to_thread(project.up)
    await watcher.until(lambda: watcher.one("slow"))
    container = project.container("slow")
    stopping = await asyncio.create_subprocess_exec("docker", "stop", "-t", "60", container)
    await watcher.until(lambda: watcher.one("slow").health == "draining")  # type: ignore[union-attr]
    await asyncio.to_thread(run, "docker", "kill", "-s", "USR1", container)
    await stopping.wait()
    await watcher.until(lambda: not watcher.now)


def ports_of(watcher: Watcher, service: str) -> list[int]:
    """Of all replicas."""
    found = (item.workload for item in watcher.now if item.workload.service == service)
    return sorted({port.number for workload in found for port in workload.ports})


async def test_one_off_and_joined_and_hostly_containers(
    watching: Callable[..., Watcher], compose_project: Callable[..., ComposeProject]
) -> None:
    project = compose_project(
        {
            "services": {
                "app": {"command": serving()},
                "side": {"command": serving(9200), "network_mode": "service:app", "depends_on": ["app"]},
                "hostly": {"command": ["sleep", "300"], "network_mode": "host"},
                "lonely": {"command": ["sleep", "300"], "network_mode": "none"},
            }
        },
        up=False,
    )
    watcher = watching(project=project.name)
    await asyncio.to_thread(project.up)
    await asyncio.to_thread(project.compose, "run", "-d", "app", "sleep", "300")
    await watcher.until(lambda: len(watcher.now) == 5)
    await watcher.until(lambda: (side := watcher.one("side")) is not None and side.ports != ())
    await watcher.until(lambda: ports_of(watcher, "app") == [8080, 9200])
    by_name = {item.workload.name.removeprefix(f"{project.name}-"): item for item in watcher.now}
    app, side = by_name["app-1"], by_name["side-1"]
    assert app.namespace is not None
    assert side.namespace is not None
    assert (side.namespace.key, side.namespace.joined, app.namespace.joined) == (
        app.namespace.key,
        True,
        False,
    )
    assert ports_of(watcher, "side") == [9200], "it is told apart from the one whose namespace it joined"
    assert (side.workload.reason, side.workload.identity("t").service_account) == ("", "side")
    assert by_name["hostly-1"].namespace is None
    assert by_name["lonely-1"].namespace is None
    one_off = next(item for name, item in by_name.items() if name.startswith("app-run"))
    assert (one_off.workload.service, one_off.workload.ports) == ("app", ())


async def test_a_port_that_opens_later_is_found(
    watching: Callable[..., Watcher], compose_project: Callable[..., ComposeProject]
) -> None:
    late = "import time, socket; time.sleep(0.4); s = socket.create_server(('', 8080)); time.sleep(300)"
    project = compose_project({"services": {"late": {"command": ["python3", "-c", late]}}}, up=False)
    watcher = watching(project=project.name)
    await asyncio.to_thread(project.up)
    await watcher.until(lambda: watcher.now and watcher.now[0].workload.ports)
    assert ports_of(watcher, "late") == [8080]


@pytest.fixture(scope="module")
def own(image: str) -> Iterator[PrivateEngine]:
    with private_engine(image) as made:
        yield made


async def test_an_engine_that_goes_and_comes_back(
    watching: Callable[..., Watcher], own: PrivateEngine, image: str
) -> None:
    watcher = watching(own.socket)
    own.docker("run", "-d", "--name", "lasting", "--restart", "always", image, *serving())
    await watcher.until(lambda: watcher.one("lasting") and watcher.one("lasting").ports)  # type: ignore[union-attr]
    first = watcher.one("lasting")
    assert first is not None
    await asyncio.to_thread(own.stop)
    await watcher.until(lambda: not watcher.now, 10)
    await asyncio.to_thread(own.start)
    await watcher.until(lambda: watcher.one("lasting"), 20)
    again = watcher.one("lasting")
    assert again is not None
    assert again.id != first.id
    own.clear()
