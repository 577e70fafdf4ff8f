"""Who gets into a captured workload: by its own addresses, and by its private link."""

from __future__ import annotations

import asyncio

import pytest

from meshlite.agent.capture import Attached, Capture, Mode
from tests.netns.world import MARK, SILENCE, Box, answering_udp, ask_udp, call, dial, run, serving

pytestmark = pytest.mark.usefixtures("proxy", "servers")


@pytest.fixture
async def item(capture: Capture, app: Box) -> Attached:
    return await capture.attach(app.found)


async def test_permissive_leads_strangers_to_the_inbound_listener(
    capture: Capture, item: Attached, app: Box, neighbour: Box
) -> None:
    await capture.set_mode(item.key, Mode())
    for address, shown in ((app.v4, app.v4), (app.v6, f"[{app.v6}]")):
        assert await dial(neighbour, address, 8080) == f"inbound {shown}:8080"
        assert await dial(None, address, 8080) == f"inbound {shown}:8080"


async def test_strict_resets_strangers_at_once_and_lets_the_link_and_loopback_in(
    capture: Capture, item: Attached, app: Box, neighbour: Box
) -> None:
    await capture.set_mode(item.key, Mode(strict=True))
    for address in (app.v4, app.v6):
        assert await dial(neighbour, address, 8080) == "refused"
        assert await dial(None, address, 8080) == "refused"
    assert (await dial(None, item.link, 8080, mark=MARK)).startswith("app ")
    assert (await dial(app, "127.0.0.1", 8080)).startswith("app ")
    assert (await dial(app, app.v4, 8080)).startswith("app ")
    assert await dial(app, neighbour.v4, 8080) == f"outbound {neighbour.v4}:8080"


async def test_exceptions_are_the_other_way_round(
    capture: Capture, item: Attached, app: Box, neighbour: Box
) -> None:
    async with serving(app, "0.0.0.0", 9090, "metrics"):
        await capture.set_mode(item.key, Mode(strict=True, exceptions=frozenset({9090})))
        assert await dial(neighbour, app.v4, 8080) == "refused"
        assert await dial(neighbour, app.v4, 9090) == f"inbound {app.v4}:9090"
        await capture.set_mode(item.key, Mode(strict=False, exceptions=frozenset({9090})))
        assert await dial(neighbour, app.v4, 8080) == f"inbound {app.v4}:8080"
        assert await dial(neighbour, app.v4, 9090) == "refused"


@pytest.mark.parametrize("mode", [Mode(), Mode(strict=True), Mode(exceptions=frozenset({8080}))])
async def test_nobody_dials_the_capture_ports(
    capture: Capture, item: Attached, app: Box, neighbour: Box, mode: Mode
) -> None:
    """They are for what the rules redirect, which by them works as ever."""
    await capture.set_mode(item.key, mode)
    for port in (15001, 15006):
        for address in (app.v4, app.v6):
            assert await dial(neighbour, address, port) == "refused"
            assert await dial(None, address, port) == "refused"
        for address in (app.v4, "127.0.0.1"):
            assert await dial(app, address, port) == "refused"
        assert await dial(None, item.link, port, mark=MARK) == "refused"
    assert await dial(app, neighbour.v4, 8080) == f"outbound {neighbour.v4}:8080"
    if mode == Mode():
        assert await dial(neighbour, app.v4, 8080) == f"inbound {app.v4}:8080"


async def test_udp_comes_in_under_strict(capture: Capture, item: Attached, app: Box, neighbour: Box) -> None:
    await capture.set_mode(item.key, Mode(strict=True))
    async with answering_udp(app, "0.0.0.0", 5353):
        assert await ask_udp(neighbour, app.v4, 5353) == "udp hello"


async def test_only_the_proxys_mark_leaves_on_a_link(capture: Capture, item: Attached) -> None:
    assert (await dial(None, item.link, 8080, mark=MARK)).startswith("app ")
    assert await dial(None, item.link, 8080) == "forbidden"
    assert await dial(None, item.link, 8080, mark=MARK + 1) == "forbidden"


@pytest.mark.usefixtures("item")
async def test_nothing_for_a_link_that_is_gone_leaves_by_another_way(neighbour: Box) -> None:
    neighbour.run("ip addr add 169.254.77.77/32 dev eth0")
    run(f"ip route add 169.254.77.77 via {neighbour.v4}")
    async with serving(neighbour, "169.254.77.77", 9000, "stranger"):
        assert (await dial(None, "169.254.77.77", 9000)).startswith("stranger ")
        assert await dial(None, "169.254.77.77", 9000, mark=MARK) == "refused"


async def test_a_neighbour_gets_nowhere_by_the_links_address(
    capture: Capture, item: Attached, neighbour: Box
) -> None:
    """Without the host's rules it would: the host forwards."""
    assert await dial(neighbour, item.link, 8080, patience=SILENCE) == "silence"
    run("nft delete table inet meshlite")
    assert (await dial(neighbour, item.link, 8080)).startswith("app ")
    await capture.check()
    assert await dial(neighbour, item.link, 8080, patience=SILENCE) == "silence"


async def test_a_workload_gets_nowhere_over_its_link(capture: Capture, item: Attached, app: Box) -> None:
    """Not to the host, nor through it to others, although its own end is under its control."""
    async with serving(None, "0.0.0.0", 7000, "host"), answering_udp(None, "0.0.0.0", 7001):
        assert await dial(app, "169.254.0.1", 7000, patience=SILENCE) == "silence"
        assert await ask_udp(app, "169.254.0.1", 7001, patience=SILENCE) == "silence"
        app.run("ip route add 10.99.0.0/24 via 169.254.0.1 dev mesh0 onlink")
        run("ip addr add 10.99.0.1/24 dev br0")
        assert await dial(app, "10.99.0.1", 7000, patience=SILENCE) == "silence"
        assert (await dial(app, "10.77.0.1", 7000)).startswith("host "), "the usual way is open"


async def test_an_app_on_its_container_address_only_is_reached_over_the_link(
    capture: Capture, item: Attached, app: Box
) -> None:
    async with serving(app, app.v4, 9000, "shy"):
        await capture.set_mode(item.key, Mode(strict=True))
        assert await dial(None, item.link, 9000, mark=MARK) == "refused"
        await capture.set_mode(item.key, Mode(strict=True), {9000: app.v4})
        assert (await dial(None, item.link, 9000, mark=MARK)).startswith("shy ")
        assert (await dial(None, item.link, 8080, mark=MARK)).startswith("app "), "other ports as before"


async def test_link_connections_live_through_replacements_and_the_firewalls_reload(
    capture: Capture, item: Attached
) -> None:
    await capture.set_mode(item.key, Mode())
    over_link = await call(None, item.link, 8080, mark=MARK)
    for turn in range(20):
        await capture.set_mode(item.key, Mode(strict=bool(turn % 2)))
        assert await over_link.echo(str(turn)) == str(turn)
    run("nft flush ruleset")
    assert await over_link.echo("without") == "without"
    await capture.check()
    assert await over_link.echo("again") == "again"
    over_link.close()


async def test_a_host_firewall_that_admits_established_connections_only_lets_links_work(
    capture: Capture, item: Attached
) -> None:
    run("nft add table inet firewall")
    for rule in (
        "chain inet firewall input { type filter hook input priority 0 ; policy drop ; }",
        "rule inet firewall input ct state established,related accept",
    ):
        run(f"nft add {rule}")
    assert (await dial(None, item.link, 8080, mark=MARK)).startswith("app ")


async def test_many_connections_at_once_over_a_link(capture: Capture, item: Attached) -> None:
    await capture.set_mode(item.key, Mode(strict=True))
    greetings = await asyncio.gather(*(dial(None, item.link, 8080, mark=MARK) for _ in range(200)))
    assert all(greeting.startswith("app ") for greeting in greetings)


async def test_a_gateways_port_is_open_to_strangers_whatever_the_mode(
    capture: Capture, item: Attached, app: Box, neighbour: Box
) -> None:
    async with serving(app, "0.0.0.0", 9090, "gateway"):
        for strict in (True, False):
            await capture.set_mode(item.key, Mode(strict=strict, gateways=frozenset({9090})))
            assert await dial(neighbour, app.v4, 9090) == f"gateway {app.v4}:9090"
            assert (await dial(neighbour, app.v4, 8080)) == (
                "refused" if strict else f"inbound {app.v4}:8080"
            )
