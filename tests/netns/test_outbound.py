"""What a captured workload's own connections meet."""

from __future__ import annotations

import pytest

from meshlite.agent.capture import Capture, Mode
from tests.netns.world import MARK, Box, answering_udp, ask_udp, box, call, dial, ping, run, serving

pytestmark = pytest.mark.usefixtures("proxy", "servers")


@pytest.fixture
async def key(capture: Capture, app: Box) -> str:
    item = await capture.attach(app.found)
    await capture.set_mode(item.key, Mode())
    return item.key


async def test_calls_to_others_reach_the_proxy_which_learns_where_they_were_going(
    key: str, app: Box, neighbour: Box
) -> None:
    assert await dial(app, neighbour.v4, 8080) == f"outbound {neighbour.v4}:8080"
    assert await dial(app, neighbour.v6, 8080) == f"outbound [{neighbour.v6}]:8080"
    assert await dial(app, "240.240.0.7", 9080) == "outbound 240.240.0.7:9080"
    assert await dial(app, "10.77.0.1", 5999) == "outbound 10.77.0.1:5999"


async def test_loopback_and_own_addresses_pass(key: str, app: Box) -> None:
    for own in ("127.0.0.1", "127.9.9.9", "::1", app.v4, app.v6):
        assert (await dial(app, own, 8080)).startswith("app "), own


async def test_an_address_that_the_workload_gets_later_is_its_own_too(key: str, app: Box) -> None:
    app.run("ip addr add 10.88.0.5/24 dev eth0")
    assert (await dial(app, "10.88.0.5", 8080)).startswith("app ")


async def test_link_local_addresses_pass_so_that_a_clouds_metadata_are_reached(key: str, app: Box) -> None:
    run("ip addr add 169.254.169.254/32 dev br0")
    async with serving(None, "169.254.169.254", 80, "metadata"):
        assert (await dial(app, "169.254.169.254", 80)).startswith("metadata ")


async def test_the_proxys_own_connections_pass(key: str, app: Box, neighbour: Box) -> None:
    assert (await dial(app, neighbour.v4, 8080, mark=MARK)).startswith("neighbour ")
    assert (await dial(app, neighbour.v6, 8080, mark=MARK)).startswith("neighbour ")


async def test_udp_passes(key: str, app: Box, neighbour: Box) -> None:
    async with answering_udp(neighbour, "0.0.0.0", 5353):
        assert await ask_udp(app, neighbour.v4, 5353) == "udp hello"


async def test_udp_to_a_virtual_address_reaches_a_replica(
    capture: Capture, key: str, app: Box, neighbour: Box
) -> None:
    replicas = {"240.240.0.7": neighbour.v4, "fd6d:6c00::f0f0:7": neighbour.v6}
    await capture.set_mode(key, Mode(), replicas=replicas)
    async with answering_udp(neighbour, "0.0.0.0", 5353), answering_udp(neighbour, "::", 5353):
        for virtual in replicas:
            assert await ask_udp(app, virtual, 5353) == "udp hello", virtual
    for virtual in replicas:
        assert await ping(app, virtual), virtual
    assert await dial(app, "240.240.0.7", 9080) == "outbound 240.240.0.7:9080", "TCP is the proxy's"
    assert await dial(app, "fd6d:6c00::f0f0:7", 9080) == "outbound [fd6d:6c00::f0f0:7]:9080"


async def test_udp_to_an_own_virtual_address_stays_at_home(capture: Capture, key: str, app: Box) -> None:
    await capture.set_mode(key, Mode(), replicas={"240.240.0.7": app.v4})
    async with answering_udp(app, "0.0.0.0", 5353):
        assert await ask_udp(app, "240.240.0.7", 5353) == "udp hello"


async def test_udp_to_a_virtual_address_without_a_replica_is_refused_not_lost(key: str, app: Box) -> None:
    for virtual in ("240.240.0.7", "fd6d:6c00::f0f0:7"):
        with pytest.raises(OSError, match=r"Operation not permitted|refused"):
            await ask_udp(app, virtual, 5353)


async def test_without_a_default_route_udp_leaves_from_an_address_that_can_be_answered(
    capture: Capture, neighbour: Box
) -> None:
    with box("internal", 9, default_route=False) as internal:
        item = await capture.attach(internal.found)
        replicas = {"240.240.0.7": neighbour.v4, "fd6d:6c00::f0f0:7": neighbour.v6}
        await capture.set_mode(item.key, Mode(), replicas=replicas)
        async with answering_udp(neighbour, "0.0.0.0", 5353), answering_udp(neighbour, "::", 5353):
            for virtual in replicas:
                assert await ask_udp(internal, virtual, 5353) == "udp hello", virtual
        await capture.detach(item.key)
        assert internal.run("ip -6 rule") == neighbour.run("ip -6 rule")


async def test_nobody_reaches_the_proxys_ports_but_by_redirection(key: str, app: Box, neighbour: Box) -> None:
    for address in ("127.0.0.1", "::1", app.v4):
        assert await dial(app, address, 15001) == "refused"
        assert await dial(app, address, 15006) == "refused"
    for address in (app.v4, app.v6):
        assert await dial(neighbour, address, 15006) == "refused"
        assert await dial(neighbour, address, 15001) == "refused"


async def test_connections_from_before_live_through_load_replacement_and_removal(
    capture: Capture, app: Box, neighbour: Box
) -> None:
    before = await call(app, neighbour.v4, 8080)
    inward = await call(neighbour, app.v4, 8080)
    item = await capture.attach(app.found)
    for mode in (Mode(), Mode(strict=True), Mode(exceptions=frozenset({8080}))):
        await capture.set_mode(item.key, mode)
        assert await before.echo("still here") == "still here"
        assert await inward.echo("still here") == "still here"
    await capture.drain(item.key)
    await capture.detach(item.key)
    assert await before.echo("at the end") == "at the end"
    assert await inward.echo("at the end") == "at the end"
    before.close()
    inward.close()


async def test_captured_connections_live_on_while_draining_and_new_ones_go_direct(
    key: str, capture: Capture, app: Box, neighbour: Box
) -> None:
    captured = await call(app, neighbour.v4, 8080)
    assert captured.greeting.startswith("outbound ")
    await capture.drain(key)
    assert await captured.echo("still here") == "still here"
    assert (await dial(app, neighbour.v4, 8080)).startswith("neighbour ")
    assert (await dial(neighbour, app.v4, 8080)).startswith("app ")
    captured.close()


async def test_two_hundred_replacements_disturb_no_connection(
    key: str, capture: Capture, app: Box, neighbour: Box
) -> None:
    held = await call(app, neighbour.v4, 8080)
    seen = set()
    for turn in range(200):
        await capture.set_mode(key, Mode(exceptions=frozenset({20000 + turn})))
        seen.add(await dial(app, neighbour.v4, 8080))
        assert await held.echo(str(turn)) == str(turn)
    assert seen == {f"outbound {neighbour.v4}:8080"}
    held.close()


async def test_without_a_default_route_virtual_addresses_still_reach_the_proxy(capture: Capture) -> None:
    with box("internal", 9, default_route=False) as internal:
        item = await capture.attach(internal.found)
        assert await dial(internal, "9.9.9.9", 80) == "unreachable"
        await capture.set_mode(item.key, Mode())
        async with serving(internal, "127.0.0.1", 15001, "outbound"):
            assert await dial(internal, "240.240.0.7", 9080) == "outbound 240.240.0.7:9080"
            assert await dial(internal, "9.9.9.9", 80) == "unreachable"
        await capture.detach(item.key)
