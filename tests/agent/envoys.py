"""Real Envoys for the tests of this folder: settings of their own, simple resources, a bounded load."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meshlite.agent import ads, launch_plan, proxy
from meshlite.agent.xds import XdsServer
from meshlite.config import Paths, Ports, Settings
from meshlite.translate.envoy import schema
from meshlite.translate.translation import Encoded

LIMIT = 60.0
"""Seconds for what must come, however slow and busy the machine is."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start Envoy as another user")

one_loop = pytest.mark.asyncio(loop_scope="session")
"""gRPC's asyncio side stays with the first event loop of a process."""


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Settings of a mesh of the test's own; its Envoys are ended and its files removed in any case."""
    folder = Path(tempfile.mkdtemp(prefix="meshlite-"))
    folder.chmod(0o755)
    paths = Paths(state=folder / "state", run=folder / "run")
    made = Settings(node="node-1", paths=paths, proxy_concurrency=1, ports=Ports(agent=free_port()))
    try:
        yield made
    finally:
        proxy.remove(launch_plan.plan_of(made))
        shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answering(port: int, text: str, name: str = "", namespace: str = "") -> dict[str, Encoded]:
    """A listener that answers every request with `text`, by name (`web-<port>` unless given)."""
    name = name or f"web-{port}"
    router = schema.typed("envoy.extensions.filters.http.router.v3.Router")
    answer = {"status": 200, "body": {"inline_string": text}}
    routes = [{"match": {"prefix": "/"}, "direct_response": answer}]
    manager = schema.typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        {
            "stat_prefix": "test",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        },
    )
    address: dict[str, object] = {"address": "127.0.0.1", "port_value": port}
    if namespace:
        address["network_namespace_filepath"] = namespace
    chain = {"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}]}
    body = {"name": name, "address": {"socket_address": address}, "filter_chains": [chain]}
    return {name: Encoded.of(schema.encode(schema.LISTENER, body))}


async def get(port: int, host: str = "127.0.0.1") -> str:
    """The body of one request on a connection of its own."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(LIMIT):
            return (await _exchange(reader, writer))[1]
    finally:
        writer.close()


async def answers(port: int, text: str, within: float = LIMIT) -> None:
    """Wait for `text`."""
    async with asyncio.timeout(within):
        while True:
            try:
                if await get(port) == text:
                    return
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                pass
            await asyncio.sleep(0.005)


async def until(condition: Callable[[], bool], within: float = LIMIT) -> None:
    """Look again and again until `condition` holds; TimeoutError if it does not."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what tests wait for has no event
            await asyncio.sleep(0.005)


@dataclass
class Load:
    """What a load loop saw."""

    done: int = 0
    failures: list[str] = field(default_factory=list)

    async def more(self, count: int) -> None:
        """Wait for so many further answers."""
        wanted = self.done + count
        await until(lambda: self.done >= wanted)


@asynccontextmanager
async def load(port: int, clients: int = 4) -> AsyncIterator[Load]:
    """Keep-alive clients send one request after the other while the block runs."""
    seen, stop = Load(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(_client(port, seen, stop))
        try:
            yield seen
        finally:
            stop.set()


async def _client(port: int, seen: Load, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while not stop.is_set() and (await _exchange(reader, writer))[0]:
                    seen.done += 1
                    await asyncio.sleep(0.002)
            finally:
                writer.close()
        except (OSError, asyncio.IncompleteReadError) as error:
            seen.failures.append(repr(error))
            await asyncio.sleep(0.01)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bool, str]:
    """One request: whether the connection stays, and the body. ConnectionError unless it is a 200."""
    writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    if not head.startswith("http/1.1 200"):
        raise ConnectionError(f"answered {head!r}")
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    body = await reader.readexactly(length)
    return "connection: close" not in head, body.decode()


@dataclass
class Node:
    """An agent's xDS server and supervisor, without the rest of the agent."""

    proxy: proxy.Proxy
    xds: XdsServer
    latencies: list[float]

    def publish(self, **types: dict[str, Encoded]) -> None:
        """`publish(LDS=answering(...))`; types that are not named are empty."""
        urls = {short: url for url, short in ads.SHORT_NAMES.items()}
        wanted: dict[str, dict[str, Encoded]] = {url: {} for url in ads.PUSH_ORDER}
        self.xds.publish(wanted | {urls[short]: named for short, named in types.items()}, time.monotonic())

    async def state(self, wanted: proxy.State, within: float = LIMIT) -> proxy.Status:
        await until(lambda: self.proxy.status.state == wanted, within)
        return self.proxy.status

    async def counter(self, name: str) -> int:
        """One of Envoy's own statistics."""
        answer = await self.proxy.admin.get(f"/stats?filter=^{name}$")
        return int(answer.decode().rsplit(": ", 1)[1])

    async def counter_is(self, name: str, value: int) -> None:
        """Wait until it is so."""
        async with asyncio.timeout(LIMIT):
            while await self.counter(name) != value:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


@asynccontextmanager
async def agent(settings: Settings, binary: Path | None = None) -> AsyncIterator[Node]:
    """Supervise and feed an Envoy while the block runs; leaving the block leaves Envoy alone."""
    plan = launch_plan.plan_of(settings, binary)
    launch_plan.prepare(plan)
    latencies: list[float] = []
    node = Node(
        proxy.Proxy(plan),
        XdsServer(settings.paths.xds_socket, settings.proxy_uid, latencies.append),
        latencies,
    )
    async with asyncio.TaskGroup() as tasks, node.xds.serving():
        supervisor = tasks.create_task(node.proxy.supervise())
        try:
            yield node
        finally:
            supervisor.cancel()
