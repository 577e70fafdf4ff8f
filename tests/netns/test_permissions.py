"""What allow and deny write, in a real Envoy; and that a check of authorization says what it then does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from meshlite.agent.capture import Capture, Mode
from meshlite.config import Settings
from meshlite.model.mesh import Resource
from meshlite.model.mtls_mode import Mode as Wanted
from meshlite.model.mtls_mode import set_mode
from meshlite.model.permission import Action, Calls, Guarded, closed, granted, principals
from meshlite.model.workload import Workload
from meshlite.translate.explain.request import Request
from meshlite.translate.explain.verdict import verdicts
from meshlite.translate.node import NodeView
from meshlite.translate.translate import translate
from tests.netns.meshed import VIRTUAL, Proxy, ask, attachment, captured, envoy, until
from tests.netns.test_authorization import policy
from tests.netns.world import Box, dial

NEIGHBOUR = Guarded("neighbour", "test", {"app": "neighbour"})
PATHS = ("/", "/a", "/a/b", "/A", "/x/../a/b", "/%61/b", "/a//b", "/a%2Fb", "/v/1/x", "/v/1/2/x", "/a?q=/v")
HEADERS: tuple[tuple[str, ...], ...] = ((), ("x-token: secret",), ("x-token: other",))
PATIENCE = 45.0
"""Seconds that Envoy has to take a change in."""
METHODS = ("GET", "POST")


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    made = await captured(settings, capture, boxes)
    async with envoy(capture, made, boxes):
        yield made


def workloads(proxy: Proxy) -> dict[str, Workload]:
    return {one.name: one.model_copy(update={"captured": True}) for one in proxy.workloads}


def ruled(proxy: Proxy, action: Action, who: str, calls: Calls) -> None:
    """As the verb does it."""
    source = principals([workloads(proxy)[who]])
    [made] = granted(NEIGHBOUR, action, source, calls, proxy.resources).apply
    proxy.resources = [one for one in proxy.resources if one.key != made.key] + [made]


Asked = tuple[str, str, tuple[str, ...]]
ASKED: Sequence[Asked] = [("GET", path, HEADERS[0]) for path in PATHS] + [
    (method, "/a", headers) for method in METHODS for headers in HEADERS
]


def told(proxy: Proxy, who: str, asked: Asked) -> int:
    method, path, headers = asked
    state = proxy.state.model_copy(update={"workloads": tuple(workloads(proxy).values())})
    split = dict(text.split(": ") for text in headers)
    request = Request("neighbour", 8000, path, method, split)
    [verdict] = verdicts(state, workloads(proxy)[who], request)
    return {"allowed": 200, "denied": 403}[verdict.judgement.decision]


async def unlike(expected: dict[tuple[str, Asked], int], boxes: dict[str, Box]) -> dict[Any, int]:
    """All at once: a denied connection takes a second to be closed."""

    async def answer(who: str, asked: Asked) -> int:
        method, path, headers = asked
        address = VIRTUAL["neighbour"]
        return (await ask(boxes[who], address, 8000, "neighbour", path, *headers, method=method))[0]

    answers = await asyncio.gather(*(answer(who, asked) for who, asked in expected))
    pairs = zip(expected.items(), answers, strict=True)
    return {asked: answer for (asked, wanted), answer in pairs if answer != wanted}


async def compared(proxy: Proxy, boxes: dict[str, Box], asked: Sequence[Asked] = ASKED) -> set[int]:
    """Wait until Envoy answers as it was told that it would; the answers."""
    expected = {(who, one): told(proxy, who, one) for who in boxes for one in asked}

    wrong = await unlike(expected, boxes)
    deadline = time.monotonic() + PATIENCE
    while wrong and time.monotonic() < deadline:
        wrong = await unlike(expected, boxes)
    assert wrong == {}, "what Envoy answers, unlike what was told"
    return set(expected.values())


async def test_a_check_says_what_envoy_does(proxy: Proxy, app: Box, neighbour: Box) -> None:
    both = {"app": app, "neighbour": neighbour}
    ruled(proxy, "ALLOW", "app", Calls(("GET", "HEAD"), ("/a*", "/v/{*}/x")))
    await proxy.push()
    assert await compared(proxy, both) == {200, 403}
    ruled(proxy, "ALLOW", "neighbour", Calls(ports=("8000",)))
    ruled(proxy, "DENY", "neighbour", Calls(("POST",)))
    ruled(proxy, "DENY", "app", Calls(paths=("/a/b",)))
    await proxy.push()
    assert await compared(proxy, both) == {200, 403}
    condition: dict[str, Any] = {"when": [{"key": "request.headers[x-token]", "values": ["sec*"]}]}
    unlike: dict[str, Any] = {"from": [{"source": {"notPrincipals": ["*/sa/app"]}}]}
    proxy.resources = [policy("conditions", "ALLOW", condition, unlike)]
    await proxy.push()
    assert await compared(proxy, both, ASKED[-6:]) == {200, 403}


async def test_default_deny_with_one_that_is_let_in(proxy: Proxy, app: Box, neighbour: Box) -> None:
    proxy.resources = list(closed("test", ()).apply)
    await proxy.push()
    assert await compared(proxy, {"app": app, "neighbour": neighbour}, ASKED[:1]) == {403}
    ruled(proxy, "ALLOW", "app", Calls())
    await proxy.push()
    assert await compared(proxy, {"app": app}, ASKED[:1]) == {200}
    assert await compared(proxy, {"neighbour": neighbour}, ASKED[:1]) == {403}
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
    assert await dial(neighbour, VIRTUAL["neighbour"], 8080) == ""


async def test_strict_and_permissive_by_the_verb(proxy: Proxy, capture: Capture, app: Box) -> None:
    """A stranger on the bridge: let in, refused, and let in again."""

    async def stranger() -> str:
        return await dial(None, app.v4, 8080)

    steps: tuple[tuple[Wanted, str], ...] = (
        ("STRICT", "refused"),
        ("PERMISSIVE", "app "),
        ("STRICT", "refused"),
        ("UNSET", "app "),
    )
    for mode, heard in steps:
        made = set_mode("test", "app", {"app": "app"}, mode, proxy.resources)
        gone = {*made.delete, *(one.key for one in made.apply)}
        kept: list[Resource] = [one for one in proxy.resources if one.key not in gone]
        proxy.resources = [*kept, *made.apply]
        await proxy.push()
        views = (attachment(item, one) for item, one in zip(proxy.items, proxy.workloads, strict=True))
        strict = translate(proxy.state, NodeView("node-1", tuple(views))).strict[proxy.items[0].key]
        await capture.set_mode(proxy.items[0].key, Mode(strict=strict.default, exceptions=strict.exceptions))
        await until(stranger, heard)
        assert strict.default == (heard == "refused")
