"""A fresh host with two workloads and an attached capture, for every test of this folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from meshlite.agent.capture import Capture
from meshlite.config import Paths, Settings
from tests.netns.world import Box, box, fresh_host, serving


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Settings of a mesh of the test's own."""
    folder = Path(tempfile.mkdtemp(prefix="meshlite-"))
    folder.chmod(0o755)
    try:
        yield Settings(node="node-1", paths=Paths(state=folder / "state", run=folder / "run"))
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def host() -> Iterator[None]:
    """This process's main thread in a namespace that plays the host."""
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    with fresh_host():
        yield


@pytest.fixture
def boxes(host: None) -> Iterator[tuple[Box, Box]]:
    """Two workloads: the app under test, and a neighbour on the same bridge."""
    with ExitStack() as stack:
        yield stack.enter_context(box("app", 2)), stack.enter_context(box("neighbour", 3))


@pytest.fixture
def app(boxes: tuple[Box, Box]) -> Box:
    return boxes[0]


@pytest.fixture
def neighbour(boxes: tuple[Box, Box]) -> Box:
    return boxes[1]


@pytest.fixture
async def capture(settings: Settings, host: None) -> AsyncIterator[Capture]:
    """A started capture; everything it still holds at the end is detached."""
    made = Capture(settings)
    await made.start()
    yield made
    for key in list(made.attached):
        await made.detach(key)


@pytest.fixture
async def proxy(app: Box) -> AsyncIterator[None]:
    """Stand-ins for the node proxy's listeners in the app's namespace; they say what was dialled."""
    async with AsyncExitStack() as stack:
        for address, port, label in (
            ("127.0.0.1", 15001, "outbound"),
            ("::1", 15001, "outbound"),
            ("0.0.0.0", 15006, "inbound"),
            ("::", 15006, "inbound"),
        ):
            await stack.enter_async_context(serving(app, address, port, label))
        yield


@pytest.fixture
async def servers(app: Box, neighbour: Box) -> AsyncIterator[None]:
    """Port 8080 of both workloads, on all their addresses."""
    async with AsyncExitStack() as stack:
        for where in (app, neighbour):
            for address in ("0.0.0.0", "::"):
                await stack.enter_async_context(serving(where, address, 8080, where.name))
        yield
