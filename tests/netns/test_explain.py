"""What is explained of a request is what a real Envoy does with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meshlite.agent.capture import Capture
from meshlite.config import Settings
from meshlite.model.mesh import Resource
from meshlite.translate.explain.explain import explain
from meshlite.translate.explain.request import Request
from tests.netns.meshed import OUTSIDE, VIRTUAL, Proxy, ask, captured, envoy, get, until, web
from tests.netns.world import Box

NEIGHBOUR = {"route": [{"destination": {"host": "neighbour"}}]}
GONE = {"route": [{"destination": {"host": "neighbour", "subset": "none"}}]}


def on(match: dict[str, Any], **then: Any) -> dict[str, Any]:
    return {"match": [match], **then}


RULES = [
    on({"uri": {"exact": "/teapot"}}, directResponse={"status": 418}),
    on({"uri": {"prefix": "/moved"}}, redirect={"uri": "/", "redirectCode": 308}),
    on({"uri": {"prefix": "/gone"}}, **GONE),
    on({"uri": {"regex": "/v[0-9]+/x"}}, directResponse={"status": 401}),
    on({"uri": {"prefix": "/q"}, "queryParams": {"a": {"exact": "1"}}}, directResponse={"status": 402}),
    on({"uri": {"exact": "/CASE"}, "ignoreUriCase": True}, directResponse={"status": 405}),
    on({"authority": {"exact": "neighbour.test"}}, directResponse={"status": 406}),
    on({"headers": {"x-not-sent": {}}}, directResponse={"status": 407}),
    on({"sourceNamespace": "elsewhere"}, directResponse={"status": 409}),
    on({"uri": {"prefix": "/o"}}, **NEIGHBOUR),
]
PATHS = (
    "/teapot",
    "/teapot/",
    "/moved/on",
    "/gone",
    "/v12/x",
    "/v12/x/y",
    "/q?a=1",
    "/q?a=2",
    "/case",
    "/ok",
    "/no",
)
HOSTS = ("neighbour", "neighbour.test", "neighbour.test.svc.cluster.local", "stranger.test")


def resource(kind: str, spec: dict[str, Any]) -> Resource:
    return Resource(
        api_version="networking.istio.io/v1", kind=kind, name="neighbour", namespace="test", spec=spec
    )


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    made = await captured(settings, capture, boxes)
    async with envoy(capture, made, boxes):
        yield made


def told(proxy: Proxy, host: str, path: str) -> int:
    """The status that the outcome stands for. A host that nobody knows is reached by the address dialled."""
    state = proxy.state.model_copy(
        update={"workloads": tuple(one.model_copy(update={"captured": True}) for one in proxy.workloads)}
    )
    source = next(one for one in state.workloads if one.name == "app")
    request = Request(host, 8000, path)
    outcome = explain(state, source, request, "240.240.0.0/16").outcome
    words = outcome.partition(":")[0].split()
    return 200 if words[0] in ("sent", "passed") else next(int(word) for word in words if word.isdigit())


async def answered(app: Box, host: str, path: str) -> int:
    address = OUTSIDE if host.startswith("stranger") else VIRTUAL["neighbour"]
    return (await ask(app, address, 8000, host, path))[0]


async def test_explained_and_done_are_the_same(proxy: Proxy, app: Box) -> None:
    subset = {"name": "none", "labels": {"nobody": "has"}}
    proxy.resources = [
        resource("VirtualService", {"hosts": ["neighbour"], "http": RULES}),
        resource("DestinationRule", {"host": "neighbour", "subsets": [subset]}),
    ]
    await proxy.push()
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), "404 ")
    async with web(None, OUTSIDE, 8000, "outside"):
        every = [(host, path) for host in HOSTS for path in PATHS]
        # All at once: an answer of Envoy's own takes a second until its connection is closed.
        answers = await asyncio.gather(*(answered(app, host, path) for host, path in every))
        done = dict(zip(every, answers, strict=True))
        said = {(host, path): told(proxy, host, path) for host, path in every}
    assert said == done
    assert set(done.values()) == {200, 308, 401, 402, 404, 405, 406, 418, 503}
