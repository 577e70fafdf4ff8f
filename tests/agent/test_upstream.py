"""An agent and a real server: joining, following, reporting, and going on alone while the server is away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meshlite.agent import enrolment, upstream
from meshlite.agent.keys import make
from meshlite.agent.upstream import Upstream
from meshlite.config import Ports, Settings
from meshlite.model.mesh import Snapshot
from meshlite.model.workload import Port, Workload
from tests.agent.envoys import LIMIT, free_port, needs_root, until

pytestmark = needs_root  # the server's local socket is root's

REVIEWS = Workload(
    id="c1-1",
    node="node-1",
    name="reviews-1",
    service="reviews",
    namespace="shop",
    ports=(Port(number=9080),),
)


class Server:
    """`meshlite server` as a process of its own, which can be killed and started again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._spawn()
        await until(self.answers)
        async with asyncio.timeout(LIMIT):
            while True:
                try:
                    await self.ask("GET", "/v1/health")
                    return
                except aiohttp.ClientError:  # the socket is there before it is listened on
                    await asyncio.sleep(0.02)

    def _spawn(self) -> None:
        paths = self.settings.paths
        environ = {**os.environ, "MESHLITE_STATE_DIR": str(paths.state), "MESHLITE_RUN_DIR": str(paths.run)}
        config = paths.run.parent / "server.yaml"
        config.write_text(f"ports:\n  server: {self.settings.ports.server}\n")
        command = [sys.executable, "-m", "meshlite", "--config", str(config), "server"]
        with (paths.run.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)

    def answers(self) -> bool:
        return self.settings.paths.admin_socket.exists() and self.settings.paths.database.exists()

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.settings.paths.admin_socket.unlink(missing_ok=True)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the command line asks, on the local socket."""
        connector = aiohttp.UnixConnector(str(self.settings.paths.admin_socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://localhost{path}", json=body) as answer,
        ):
            assert answer.status < 400, await answer.text()
            return await answer.json() if answer.status != 204 else None


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    made = Server(
        settings.model_copy(update={"ports": Ports(server=free_port(), agent=settings.ports.agent)})
    )
    try:
        yield made
    finally:
        made.kill()


@asynccontextmanager
async def following(server: Server, token: str = "") -> AsyncIterator[Upstream]:
    one = Upstream(server.settings, token, lambda: {"node": "node-1", "fine": True})
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(one.run())
        try:
            yield one
        finally:
            task.cancel()


async def test_it_waits_for_a_server_then_joins_reports_and_follows(server: Server) -> None:
    async with following(server) as one:
        one.report((REVIEWS,))
        await until(lambda: bool(one.link.error))
        assert not one.link.connected
        await server.start()
        await until(lambda: REVIEWS in one.snapshot.value.workloads)
        assert one.link.connected
        (node,) = (await server.ask("GET", "/v1/nodes"))["nodes"]
        assert node["joined"]
        assert node["alive"]
        await until(lambda: (server.settings.paths.agent_state / "snapshot.json").exists())
    key = server.settings.paths.agent_state / "node.key"
    assert key.stat().st_mode & 0o077 == 0


async def test_changes_come_by_themselves_and_the_status_goes_up(server: Server) -> None:
    await server.start()
    async with following(server) as one:
        one.report((REVIEWS,))
        await until(lambda: one.snapshot.value.version != "")
        await server.ask("PUT", "/v1/nodes/node-1/projects", {"projects": ["shop"], "everything": False})
        await until(lambda: bool((record := one.snapshot.value.node("node-1")) and record.projects))
        one.report(())
        await until(lambda: one.snapshot.value.workloads == ())
        told = {"node": "node-1", "fine": True}
        for _ in range(1000):
            if (await server.ask("GET", "/v1/nodes"))["nodes"][0]["status"] == told:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the status did not go up")


async def test_what_is_wrong_and_that_it_is_no_more_is_told_at_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "STATUS_SECONDS", 3600.0)
    await server.start()
    status: dict[str, Any] = {"node": "node-1", "problems": []}

    async def told() -> Any:
        (node,) = (await server.ask("GET", "/v1/nodes"))["nodes"]
        return node["status"]

    async with asyncio.TaskGroup() as tasks:
        one = Upstream(server.settings, "", lambda: dict(status))
        task = tasks.create_task(one.run())
        one.report((REVIEWS,))
        await until(lambda: one.snapshot.value.version != "")
        for problems in ([{"resource": "x", "reason": "odd"}], []):
            status["problems"] = problems
            one.tell()
            async with asyncio.timeout(30):
                while await told() != status:  # noqa: ASYNC110 - the server is another process
                    await asyncio.sleep(0.02)
        task.cancel()


async def test_a_killed_server_takes_nothing_away_and_is_found_again(server: Server) -> None:
    await server.start()
    async with following(server) as one:
        one.report((REVIEWS,))
        await until(lambda: REVIEWS in one.snapshot.value.workloads)
        before = one.snapshot.value
        server.kill()
        await until(lambda: not one.link.connected)
        assert one.snapshot.value == before
        with pytest.raises(ConnectionError):
            await one.sign("spiffe://cluster.local/ns/shop/sa/reviews", "csr")
        await server.start()
        await until(lambda: one.link.connected)
        assert one.snapshot.value == before


async def test_the_next_agent_starts_with_the_snapshot_on_disk_and_needs_no_token(server: Server) -> None:
    await server.start()
    async with following(server) as one:
        one.report((REVIEWS,))
        await until(lambda: REVIEWS in one.snapshot.value.workloads)
        await until(
            lambda: upstream.read(server.settings.paths.agent_state / "snapshot.json") == one.snapshot.value
        )
        last = one.snapshot.value
    chain = (server.settings.paths.agent_state / "node.pem").read_text()
    server.kill()
    async with following(server) as one:
        assert one.from_disk
        assert one.snapshot.value == last
        await server.start()
        await until(lambda: one.link.connected)
    assert (server.settings.paths.agent_state / "node.pem").read_text() == chain


async def test_a_clock_that_goes_wrong_is_a_problem_of_this_node(server: Server) -> None:
    await server.start()
    async with following(server) as one:
        one.report((REVIEWS,))
        await until(lambda: one.skew is not None)
        assert one.problems == ()
        for skew, words in ((400.0, "400 s ahead of the server's"), (-45.0, "45 s behind the server's")):
            one.skew = skew
            (problem,) = one.problems
            assert problem.resource == f"node {server.settings.node}"
            assert words in problem.reason


async def test_a_workloads_certificate_is_signed(server: Server) -> None:
    await server.start()
    async with following(server) as one:
        one.report((REVIEWS,))
        await until(lambda: one.link.connected)
        (key,) = await make(1)
        identity = "spiffe://cluster.local/ns/shop/sa/reviews"
        certificate = await one.sign(identity, key.csr)
        assert certificate.identity == identity
        with pytest.raises(ConnectionError):
            await one.sign("spiffe://cluster.local/ns/other/sa/thief", key.csr)


async def test_a_node_certificate_is_renewed_in_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.start()
    async with following(server) as one:
        await until(lambda: one.link.connected)
    files = enrolment.NodeFiles(server.settings.paths.agent_state)
    chain = files.chain.read_text()
    begin, end = files.lifetime()
    files.times.write_text(
        f"{begin - (end - begin)} {end - (end - begin) + 60}"
    )  # as if half of it were over
    async with following(server) as one:
        one.report((REVIEWS,))
        await until(lambda: files.complete and files.chain.read_text() != chain)
        await until(lambda: REVIEWS in one.snapshot.value.workloads)


async def test_a_server_set_up_anew_is_joined_again(server: Server) -> None:
    await server.start()
    async with following(server) as one:
        one.report((REVIEWS,))
        await until(lambda: REVIEWS in one.snapshot.value.workloads)
        server.kill()
        for file in server.settings.paths.database.parent.iterdir():
            file.unlink()
        await server.start()
        await until(lambda: one.link.connected)
        await until(lambda: REVIEWS in one.snapshot.value.workloads)


async def test_a_node_that_goes_by_another_name_joins_anew_and_brings_its_projects_along(
    server: Server,
) -> None:
    await server.start()
    async with following(server) as one:
        one.report((REVIEWS,))
        await until(lambda: REVIEWS in one.snapshot.value.workloads)
        await server.ask("PUT", "/v1/nodes/node-1/projects", {"projects": ["shop"], "everything": False})
    server.settings = server.settings.model_copy(update={"node": "node-2"})
    moved = REVIEWS.model_copy(update={"node": "node-2"})
    async with following(server) as one:
        one.report((moved,))
        await until(lambda: one.snapshot.value.workloads == (moved,))
        (node,) = (await server.ask("GET", "/v1/nodes"))["nodes"]
        assert node["record"]["name"] == "node-2"
        assert node["record"]["projects"] == ["shop"]
        assert node["alive"]


async def test_a_node_of_a_server_elsewhere_that_goes_by_another_name_says_what_it_needs(
    server: Server,
) -> None:
    await server.start()
    async with following(server) as one:
        await until(lambda: one.link.connected)
    chain = enrolment.NodeFiles(server.settings.paths.agent_state).chain.read_text()
    update = {"node": "node-2", "server": f"https://127.0.0.1:{server.settings.ports.server}"}
    server.settings = server.settings.model_copy(update=update)
    async with following(server) as one:
        await until(lambda: "node: node-1 in the settings" in one.link.error)
        assert "--token-file" in one.link.error
    assert enrolment.NodeFiles(server.settings.paths.agent_state).chain.read_text() == chain


async def test_a_token_of_another_mesh_is_refused_before_anything_secret_is_sent(server: Server) -> None:
    await server.start()
    with pytest.raises(ValueError, match="not the server that this join token is from"):
        await enrolment.join(server.settings, "secret." + "0" * 64)
    with pytest.raises(ValueError, match="not a join token"):
        await enrolment.join(server.settings, "nonsense")


def test_a_snapshot_on_disk_that_cannot_be_read_is_no_snapshot(tmp_path: Path) -> None:
    broken = tmp_path / "snapshot.json"
    broken.write_text('{"version": ')
    assert upstream.read(broken) == Snapshot()
    assert upstream.read(tmp_path / "absent.json") == Snapshot()
