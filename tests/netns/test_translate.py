"""What translate makes, in a real Envoy between captured namespaces: names, addresses, strangers, changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from meshlite.agent.capture import Capture
from meshlite.config import Settings
from meshlite.model.mesh import Resource
from meshlite.model.workload import Port
from tests.netns.meshed import OUTSIDE, PORTS, VIRTUAL, Proxy, captured, envoy, get, until, web
from tests.netns.world import Box, call, dial, serving


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    """The app captured and permissive, the neighbour strict; Envoy has what translate makes of them."""
    made = await captured(settings, capture, boxes)
    async with envoy(capture, made, boxes):
        yield made


async def test_http_by_every_way_to_a_strict_service(proxy: Proxy, app: Box, neighbour: Box) -> None:
    virtual = VIRTUAL["neighbour"]
    assert await get(app, virtual, 8000, "neighbour") == "200 neighbour 169.254.0.1"
    assert await get(app, virtual, 8000, "shop.example.com") == "200 neighbour 169.254.0.1"
    assert await get(app, neighbour.v4, 8000, neighbour.v4) == "200 neighbour 169.254.0.1"
    assert await get(app, neighbour.v6, 8000, f"[{neighbour.v6}]:8000") == "200 neighbour 169.254.0.1"
    assert await get(app, neighbour.v6, 8000, "shop.example.com") == "200 neighbour 169.254.0.1"
    assert await get(app, neighbour.v4, 8000, "shop.example.com") == "200 neighbour 169.254.0.1"
    assert await get(app, OUTSIDE, 8000, "neighbour") == "200 neighbour 169.254.0.1"


async def test_tcp_by_virtual_and_by_own_address(proxy: Proxy, app: Box, neighbour: Box) -> None:
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
    assert (await dial(app, neighbour.v4, 8080)).startswith("neighbour ")
    assert (await dial(app, neighbour.v6, 8080)).startswith("neighbour ")


async def test_what_no_service_has_goes_nowhere(proxy: Proxy, app: Box) -> None:
    assert await dial(app, VIRTUAL["neighbour"], 9999) == ""
    assert await dial(app, "240.240.9.9", 8080) == ""
    assert (await get(app, "240.240.9.9", 8000, "nobody")).startswith("503 ")


async def test_everyone_passes_through_from_a_namespace_of_their_own(
    proxy: Proxy, app: Box, neighbour: Box
) -> None:
    """Connections to one destination are pooled by namespace: else one would leave from the other's."""
    async with web(None, OUTSIDE, 8000, "outside"), serving(None, OUTSIDE, 7000, "outside"):
        for _ in range(5):
            for box in (app, neighbour):
                assert await get(box, OUTSIDE, 8000, "outside.example.com") == f"200 outside {box.v4}"
        assert (await dial(app, OUTSIDE, 7000)).startswith("outside ")


async def test_strangers_come_in_where_they_may(proxy: Proxy, app: Box, neighbour: Box) -> None:
    assert await get(None, app.v4, 8000, "app") == "200 app 127.0.0.6"
    assert (await dial(None, app.v4, 8080)).startswith("app ")
    assert await dial(None, neighbour.v4, 8080) == "refused"


async def test_ipv6_passes_through_and_comes_in(proxy: Proxy, app: Box) -> None:
    async with serving(None, "fd77::1", 7000, "outside"), serving(app, "::", 8080, "app"):
        assert (await dial(app, "fd77::1", 7000)).startswith("outside ")
        assert (await dial(None, app.v6, 8080)).startswith("app ")


async def test_connections_live_through_every_kind_of_change(proxy: Proxy, app: Box) -> None:
    held = await call(app, VIRTUAL["neighbour"], 8080)
    spec = {"hosts": ["neighbour"], "http": [{"directResponse": {"status": 204}}]}
    rule = Resource(
        api_version="networking.istio.io/v1", kind="VirtualService", name="n", namespace="test", spec=spec
    )
    for number in range(5):
        port = Port(number=9000 + number, protocol="http", origin="label")
        proxy.workloads[1] = proxy.workloads[1].model_copy(update={"ports": (*PORTS, port)})
        proxy.resources = [rule] if number % 2 else []
        await proxy.push()
        wanted = "204" if number % 2 else "200"
        await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), wanted)
        assert await held.echo(str(number)) == str(number)
    held.close()


async def test_no_request_fails_while_one_of_two_replicas_refuses(
    proxy: Proxy, app: Box, neighbour: Box
) -> None:
    """The idle one of the two is the dead one, so least request names it again and again."""
    port = Port(number=9000, protocol="http", origin="label")
    for place in (0, 1):
        changes = {"service": "neighbour", "ports": (*PORTS, port)}
        proxy.workloads[place] = proxy.workloads[place].model_copy(update=changes)
    await proxy.push()
    answers: Counter[str] = Counter()

    async def ask() -> str:
        try:
            return (await get(app, VIRTUAL["neighbour"], 9000, "neighbour"))[:13]
        except (ConnectionError, IndexError) as error:
            return repr(error)

    async def caller() -> None:
        for _ in range(25):
            answers[await ask()] += 1

    async with web(neighbour, "0.0.0.0", 9000, "neighbour"):
        await until(ask, "200")
        await asyncio.gather(*(caller() for _ in range(40)))
    assert answers == {"200 neighbour": 1000}
