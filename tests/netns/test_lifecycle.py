"""Attaching and leaving: what is there, what survives the agent, and what is left behind."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from meshlite.agent.capture import Capture, CaptureError, Mode, look, sweep
from meshlite.config import Settings
from tests.netns.world import MARK, Box, box, call, dial, run, serving


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """Stands for the engine's root, so that hosts files of this machine's containers are not looked at."""
    return tmp_path


def picture(settings: Settings, *boxes: Box) -> dict[str, object]:
    """Everything capture may touch, as facts that can be compared."""
    return {
        "host rules": run("nft list ruleset"),
        "host links": [line for line in run("ip -o link").splitlines() if "ml-" in line],
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if "meshlite-" in line],
        "files": sorted(settings.paths.namespaces.iterdir()) if settings.paths.namespaces.is_dir() else [],
        **{
            box.name: [box.run(f"{words}") for words in ("nft list ruleset", "ip -o addr", "ip rule")]
            for box in boxes
        },
    }


async def test_a_workload_that_left_is_as_it_was(
    settings: Settings, app: Box, neighbour: Box, nowhere: Path
) -> None:
    before = picture(settings, app, neighbour)
    capture = Capture(settings)
    await capture.start()
    for where in (app, neighbour):
        item = await capture.attach(where.found)
        await capture.set_mode(item.key, Mode(strict=True, exceptions=frozenset({80})), {9: where.v4})
    for key in list(capture.attached):
        await capture.drain(key)
        await capture.detach(key)
    await sweep(settings, nowhere)
    assert picture(settings, app, neighbour) == before


async def test_attaching_twice_and_from_a_joined_container_gives_the_same(capture: Capture, app: Box) -> None:
    first = await capture.attach(app.found)
    namespace = app.found.namespace
    assert namespace is not None
    joined = app.found.model_copy(
        update={
            "workload": app.found.workload.model_copy(update={"id": "sidecar-1"}),
            "namespace": namespace.model_copy(update={"joined": True}),
        }
    )
    assert await capture.attach(app.found) == first
    assert await capture.attach(joined) == first
    assert list(capture.attached) == [first.key]


async def test_unchanged_rules_are_no_work(capture: Capture, app: Box) -> None:
    item = await capture.attach(app.found, Mode(strict=True))
    assert not await capture.set_mode(item.key, Mode(strict=True))
    assert await capture.set_mode(item.key, Mode(strict=False))
    assert not await capture.set_mode(item.key, Mode(strict=False))


async def test_a_restarted_agent_goes_on_with_the_same_addresses_and_touches_nothing(
    settings: Settings, capture: Capture, app: Box
) -> None:
    item = await capture.attach(app.found, Mode())
    async with serving(app, "0.0.0.0", 8080, "app"), serving(app, "127.0.0.1", 15001, "outbound"):
        over_link = await call(None, item.link, 8080, mark=MARK)
        captured = await call(app, "240.240.0.1", 80)
        reborn = Capture(settings)
        await reborn.start()
        assert dict(reborn.attached) == dict(capture.attached)
        held = await reborn.attach(app.found)
        assert (held.key, held.path, held.link) == (item.key, item.path, item.link)
        assert not await reborn.set_mode(held.key, Mode())
        assert await over_link.echo("still") == "still"
        assert await captured.echo("still") == "still"
        over_link.close()
        captured.close()


async def test_an_agent_that_lost_its_memory_attaches_anew(
    settings: Settings, capture: Capture, app: Box
) -> None:
    await capture.attach(app.found, Mode(strict=True))
    (settings.paths.run / "capture.json").unlink()
    reborn = Capture(settings)
    await reborn.start()
    assert not reborn.attached
    async with serving(app, "0.0.0.0", 8080, "app"):
        assert (await dial(None, app.v4, 8080)).startswith("app "), "the old rules are gone"
        item = await reborn.attach(app.found, Mode(strict=True))
        assert (await dial(None, item.link, 8080, mark=MARK)).startswith("app ")
        assert await dial(None, app.v4, 8080) == "refused"
    await reborn.detach(item.key)


async def test_what_died_while_no_agent_was_there_is_cleared_away(
    settings: Settings, host: None, nowhere: Path
) -> None:
    first = Capture(settings)
    await first.start()
    with box("short", 4) as short:
        gone = await first.attach(short.found, Mode())
    second = Capture(settings)
    await second.start()
    assert gone.path in str(picture(settings)["mounts"]), "its namespace is pinned, so it counts as there"
    await second.detach(gone.key)
    left = await look(settings, nowhere)
    assert (left.mounts, left.interfaces, left.namespaces) == ((), (), ())
    await sweep(settings, nowhere)


async def test_leftovers_of_a_crash_are_named_and_swept(
    settings: Settings, capture: Capture, app: Box, nowhere: Path
) -> None:
    hosts_file = nowhere / "containers" / "c1" / "hosts"
    hosts_file.parent.mkdir(parents=True)
    hosts_file.write_text("127.0.0.1\tlocalhost\n")
    app.hosts_file = str(hosts_file)
    item = await capture.attach(app.found, Mode(strict=True))
    await capture.write_names(item.key, {"240.240.0.1": ["reviews"]})
    capture.close()
    (settings.paths.run / "capture.json").unlink()
    sentences = (await look(settings, nowhere)).sentences()
    for part in (item.path, item.interface, "nftables", f"process {app.process.pid}", str(hosts_file)):
        assert any(part in sentence for sentence in sentences), part
    await sweep(settings, nowhere)
    assert not await look(settings, nowhere)
    assert hosts_file.read_text() == "127.0.0.1\tlocalhost\n"
    assert "meshlite" not in app.run("nft list ruleset")


async def test_a_sweep_leaves_alone_what_belongs_to_another_host(
    settings: Settings, host: None, app: Box, nowhere: Path
) -> None:
    app.run("nft add table inet meshlite")
    app.run("ip link add mesh0 type veth peer name other")
    assert app.process.pid not in (await look(settings, nowhere)).namespaces
    await sweep(settings, nowhere)
    assert "meshlite" in app.run("nft list ruleset")


async def test_a_mount_that_somebody_took_away_comes_back(capture: Capture, app: Box) -> None:
    item = await capture.attach(app.found, Mode())
    run(f"umount {item.path}")
    await capture.check()
    assert str(os.stat(item.path).st_ino) == item.namespace


@pytest.mark.parametrize(
    "words", ["nft flush ruleset", "nft flush table inet meshlite", "nft flush chain inet meshlite {}"]
)
async def test_rules_that_a_container_takes_away_come_back(capture: Capture, app: Box, words: str) -> None:
    """Told by the kernel, not by a look now and then; what the container does elsewhere is its own affair."""
    item = await capture.attach(app.found, Mode(strict=True))
    before = app.run("nft -s list table inet meshlite")
    chain = next(line.split()[1] for line in before.splitlines() if line.lstrip().startswith("chain "))
    app.run("nft add table ip own")
    await asyncio.sleep(0)
    assert not await capture.set_mode(item.key, Mode(strict=True))
    app.run(words.format(chain))
    assert await capture.losses.next(0) == 1
    assert await capture.set_mode(item.key, Mode(strict=True))
    assert app.run("nft -s list table inet meshlite") == before
    assert not await capture.set_mode(item.key, Mode(strict=True))


async def test_rules_that_went_while_no_agent_ran_come_back(
    settings: Settings, capture: Capture, app: Box
) -> None:
    item = await capture.attach(app.found, Mode())
    before = app.run("nft -s list table inet meshlite")
    app.run("nft flush ruleset")
    reborn = Capture(settings)
    await reborn.start()
    assert await reborn.set_mode(item.key, Mode())
    assert app.run("nft -s list table inet meshlite") == before


async def test_names_stay_in_a_hosts_file_that_the_engine_writes_anew(
    capture: Capture, app: Box, tmp_path: Path
) -> None:
    file, names = tmp_path / "hosts", {"240.240.0.1": ("web",)}
    file.write_text("127.0.0.1 localhost\n")
    item = await capture.attach(app.found.model_copy(update={"hosts_file": str(file)}), Mode())
    assert await capture.write_names(item.key, names)
    for fresh in ("127.0.0.1 localhost\n172.18.0.3 app\n", "127.0.0.1 localhost\n"):
        file.write_text(fresh)
        for _ in range(6000):
            if "web" in file.read_text():
                break
            await asyncio.sleep(0.01)
        assert file.read_text().startswith(fresh)
    await capture.drain(item.key)
    file.write_text("127.0.0.1 localhost\n")
    await asyncio.sleep(0.1)
    assert file.read_text() == "127.0.0.1 localhost\n"


async def test_rules_of_our_own_are_no_loss(capture: Capture, app: Box) -> None:
    item = await capture.attach(app.found, Mode())
    for strict in (True, False, True):
        assert await capture.set_mode(item.key, Mode(strict=strict))
    assert capture.losses.value == 0


async def test_what_cannot_be_captured_is_said(capture: Capture, app: Box) -> None:
    hostly = app.found.model_copy(update={"namespace": None})
    with pytest.raises(CaptureError, match="app: has no network namespace"):
        await capture.attach(hostly)
    with box("dead", 5) as dead:
        found = dead.found
    with pytest.raises(CaptureError, match="dead"):
        await capture.attach(found)
    assert not capture.attached


async def test_thirty_at_once_get_links_of_their_own(capture: Capture, host: None) -> None:
    with ExitStack() as stack:
        boxes = [stack.enter_context(box(f"w{number}", number)) for number in range(10, 40)]
        items = await asyncio.gather(*(capture.attach(where.found, Mode(strict=True)) for where in boxes))
        assert len({item.link for item in items}) == 30
        for where, item in zip(boxes, items, strict=True):
            async with serving(where, "0.0.0.0", 8080, where.name):
                assert (await dial(None, item.link, 8080, mark=MARK)).startswith(f"{where.name} ")
                assert await dial(None, where.v4, 8080) == "refused"
        for item in items:
            await capture.detach(item.key)


async def test_any_user_may_pass_through_to_the_mounts(capture: Capture, app: Box) -> None:
    """The node proxy runs as a user of its own."""
    item = await capture.attach(app.found)
    command = f"setpriv --reuid=15001 --regid=15001 --clear-groups cat {item.path}"
    with pytest.raises(Exception, match="returned non-zero") as refused:
        run(command)
    assert "Permission denied" not in str(getattr(refused.value, "stderr", "")), (
        "the kernel has no text for it: EINVAL"
    )


async def test_names_are_written_in_place_and_leave_no_trace(
    capture: Capture, app: Box, tmp_path: Path
) -> None:
    file = tmp_path / "hosts"
    original = "127.0.0.1\tlocalhost\n172.18.0.2\tabcdef\n"
    file.write_text(original)
    inode = file.stat().st_ino
    app.hosts_file = str(file)
    item = await capture.attach(app.found)
    assert await capture.write_names(item.key, {"240.240.0.7": ["reviews", "reviews.shop"]})
    assert not await capture.write_names(item.key, {"240.240.0.7": ["reviews", "reviews.shop"]})
    assert "240.240.0.7 reviews reviews.shop" in file.read_text()
    await capture.drain(item.key)
    assert file.read_text() == original
    assert file.stat().st_ino == inode
