"""Keys of issuers: fetched ahead of requests, refreshed, and kept while their issuer is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from meshlite.model.mesh import Resource
from meshlite.server.events import Events
from meshlite.server.key_sets import LONGEST_PAUSE, REFRESH, KeySets
from meshlite.server.mirror import Mirror, Write
from meshlite.server.records import KEY_SETS, RESOURCES
from meshlite.server.store.memory import MemoryStore
from tests.server.conftest import FakeTime

KEY = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "first"}


@dataclass
class Issuer:
    """A server of keys on loopback; `status` 0 for one that is away."""

    keys: Any = field(default_factory=lambda: {"keys": [KEY]})
    status: int = 200
    asked: int = 0
    url: str = ""

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(self.keys, status=self.status)

    async def discovery(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})


@asynccontextmanager
async def serving(issuer: Issuer) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/keys", issuer.answer)
    app.router.add_get("/.well-known/openid-configuration", issuer.discovery)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()


@dataclass
class World:
    """The part under test over a store in memory, with a clock of the test's own."""

    time: FakeTime
    mirror: Mirror
    key_sets: KeySets
    changes: list[int]
    events: Events

    async def name(self, **rule: Any) -> None:
        """A resource names an issuer."""
        resource = Resource(
            api_version="security.istio.io/v1",
            kind="RequestAuthentication",
            name="tokens",
            namespace="shop",
            spec={"jwtRules": [rule]},
        )
        await self.mirror.commit([Write(RESOURCES, resource.key, resource)])

    async def refresh(self) -> None:
        async with aiohttp.ClientSession() as session:
            await self.key_sets.refresh(session)

    @property
    def kids(self) -> list[str]:
        sets = [json.loads(one.keys)["keys"] for one in self.mirror.all(KEY_SETS).values()]
        return [key["kid"] for keys in sets for key in keys]


@pytest.fixture
async def world() -> World:
    time, changes = FakeTime(), list[int]()
    events, mirror = Events(time.clock), Mirror(MemoryStore())
    await mirror.load()
    return World(
        time, mirror, KeySets(mirror, events, time.clock, lambda: changes.append(1)), changes, events
    )


async def test_keys_are_fetched_once_and_refreshed(world: World) -> None:
    issuer = Issuer()
    async with serving(issuer):
        await world.name(issuer="me", jwksUri=f"{issuer.url}/keys")
        for _ in range(3):
            await world.refresh()
        assert (world.kids, issuer.asked, len(world.changes)) == (["first"], 1, 1)
        issuer.keys = {"keys": [{**KEY, "kid": "second"}]}
        world.time.passes(REFRESH)
        await world.refresh()
    assert (world.kids, issuer.asked, len(world.changes)) == (["second"], 2, 2)


async def test_an_issuer_that_is_named_later_is_asked_without_being_waited_for(world: World) -> None:
    """Nobody is asked before: then nothing but the resource wakes up who keeps the keys."""
    issuer = Issuer()
    async with serving(issuer), asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(world.key_sets.keep())
        await asyncio.sleep(0)
        await world.name(issuer="me", jwksUri=f"{issuer.url}/keys")
        seen = world.mirror.changes.value
        while world.kids != ["first"]:
            seen = await world.mirror.changes.next(seen)
        keeping.cancel()


async def test_the_last_keys_hold_while_the_issuer_is_away(world: World) -> None:
    issuer = Issuer()
    async with serving(issuer):
        await world.name(issuer="me", jwksUri=f"{issuer.url}/keys")
        await world.refresh()
    world.time.passes(REFRESH)
    await world.refresh()
    assert world.kids == ["first"]
    assert "the last ones hold" in world.events.latest(1)[0].message
    await world.mirror.load()
    assert world.kids == ["first"]


@pytest.mark.parametrize("keys", [{"keys": []}, {"no": 1}, {"keys": [{"kty": "RSA", "n": "AQAB"}]}])
async def test_what_is_no_key_set_changes_nothing(world: World, keys: Any) -> None:
    issuer = Issuer()
    async with serving(issuer):
        await world.name(issuer="me", jwksUri=f"{issuer.url}/keys")
        await world.refresh()
        issuer.keys = keys
        world.time.passes(REFRESH)
        await world.refresh()
    assert world.kids == ["first"]


async def test_a_failing_issuer_is_asked_again_soon_and_then_less_often(world: World) -> None:
    issuer = Issuer(status=500)
    async with serving(issuer):
        await world.name(issuer="me", jwksUri=f"{issuer.url}/keys")
        for _ in range(20):
            await world.refresh()
            world.time.passes(1.0)
        assert 2 < issuer.asked < 10
        issuer.status = 200
        world.time.passes(LONGEST_PAUSE)
        await world.refresh()
    assert world.kids == ["first"]
    told = [event.message for event in world.events.latest(10)]
    assert sum("it answers 500" in message for message in told) == 1
    assert told[-1] == "its keys are there again"


async def test_where_keys_are_may_be_asked_of_the_issuer(world: World) -> None:
    issuer = Issuer()
    async with serving(issuer):
        await world.name(issuer=issuer.url)
        await world.refresh()
    assert world.kids == ["first"]
    assert list(world.mirror.all(KEY_SETS)) == [f"{issuer.url}/.well-known/openid-configuration"]


async def test_keys_that_nobody_names_are_forgotten(world: World) -> None:
    issuer = Issuer(keys={"keys": [KEY, {"kty": "oct", "k": "AQAB", "kid": "secret"}]})
    async with serving(issuer):
        await world.name(issuer="me", jwksUri=f"{issuer.url}/keys")
        await world.refresh()
        assert world.kids == ["first"]
        await world.name(issuer="me", jwks=json.dumps({"keys": [KEY]}))
        await world.refresh()
    assert world.kids == []
