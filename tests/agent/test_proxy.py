"""The node proxy as a process: whose it is, what it may do, and what happens when it or its agent dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest

from meshlite.agent import launch_plan, proxy
from meshlite.agent.process import Process
from meshlite.config import Settings
from tests.agent.envoys import (
    LIMIT,
    agent,
    answering,
    answers,
    free_port,
    get,
    load,
    needs_root,
    one_loop,
    until,
)

pytestmark = [needs_root, one_loop]


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def abstract_sockets() -> str:
    return Path("/proc/net/unix").read_text()


async def test_it_runs_as_its_own_user_with_two_capabilities_and_not_as_our_child(
    settings: Settings,
) -> None:
    async with agent(settings) as node:
        node.publish()
        pid = (await node.state("running")).pid
        seen = status_of(pid)
        assert set(seen["Uid"].split()) == set(seen["Gid"].split()) == {str(settings.proxy_uid)}
        assert seen["Groups"] == ""
        assert seen["NoNewPrivs"] == "1"
        both = (
            f"{(1 << 21) | (1 << 12) | (1 << 10):016x}"  # CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_BIND_SERVICE
        )
        assert {seen[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {both}
        assert int(seen["PPid"]) != os.getpid()
        assert os.getsid(pid) != os.getsid(0)


async def test_nobody_else_reaches_its_sockets(settings: Settings) -> None:
    async with agent(settings) as node:
        node.publish()
        await node.state("running")
        folder = settings.paths.xds_socket.parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert not any(file.stat().st_mode & 0o077 for file in folder.iterdir())
        assert f"@envoy_domain_socket_parent_{node.proxy.plan.base_id}" not in abstract_sockets()


async def test_killed_it_serves_again(settings: Settings) -> None:
    port = free_port()
    async with agent(settings) as node:
        node.publish(LDS=answering(port, "hello"))
        await answers(port, "hello")
        first = (await node.state("running")).pid
        process = Process.of(first)
        process.signal(signal.SIGKILL)
        await until(lambda: not process.alive)
        await answers(port, "hello")
        status = await node.state("running")
        assert status.pid != first
        assert status.restarts == 1


async def test_without_an_agent_it_serves_on_and_the_next_agent_resends_nothing(
    settings: Settings,
) -> None:
    port = free_port()
    resources = answering(port, "hello")
    async with agent(settings) as node:
        node.publish(LDS=resources)
        await answers(port, "hello")
        pid = (await node.state("running")).pid
    async with load(port) as seen:
        await seen.more(50)
        assert await get(port) == "hello"
        async with agent(settings) as node:
            node.publish(LDS=resources)
            assert await node.xds.caught_up(LIMIT)
            assert (await node.state("running")).pid == pid
            assert await node.counter("listener_manager.lds.update_success") == 1
            assert await node.counter("listener_manager.listener_modified") == 0
            await seen.more(50)
    assert not seen.failures


async def test_a_changed_bootstrap_is_taken_over_by_hot_restart_without_a_failed_request(
    settings: Settings,
) -> None:
    port = free_port()
    async with agent(settings) as node:
        node.publish(LDS=answering(port, "hello"))
        await answers(port, "hello")
        first = (await node.state("running")).pid
    async with load(port) as seen:
        await seen.more(50)
        async with agent(settings.model_copy(update={"proxy_concurrency": 2})) as node:
            node.publish(LDS=answering(port, "hello"))
            await until(lambda: node.proxy.status.epoch == 1 and node.proxy.status.state == "running")
            await seen.more(300)
            assert node.proxy.status.pid != first
            options = (await node.proxy.admin.document("/server_info"))["command_line_options"]
            assert options["restart_epoch"] == 1
    assert not seen.failures
    retiring = proxy.Record.read(launch_plan.plan_of(settings).record).retiring
    assert [process.pid for process, _ in retiring] == [first]


async def test_a_hot_restart_that_fails_leaves_the_former_envoy_serving(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    async with agent(settings) as node:
        node.publish(LDS=answering(port, "hello"))
        await answers(port, "hello")
        first = (await node.state("running")).pid
    monkeypatch.setattr(launch_plan.bootstrap, "text", lambda _: '{"no_such_field": 1}')
    async with agent(settings) as node:
        node.publish(LDS=answering(port, "hello"))
        await until(lambda: "no_such_field" in node.proxy.status.error)
        assert node.proxy.status.pid == first
        assert node.proxy.status.state == "running"
        assert await get(port) == "hello"


async def test_an_envoy_that_keeps_ending_is_started_with_growing_pauses_and_says_why(
    settings: Settings, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    started.touch()
    started.chmod(0o666)
    for folder in started.parents:
        if folder != Path("/") and folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o755)
    fake = tmp_path / "envoy"
    fake.write_text(f"#!/bin/sh\ndate +%s.%N >> {started}\necho out of order >&2\nexit 1\n")
    fake.chmod(0o755)
    async with agent(settings, fake) as node:
        await until(lambda: len(started.read_text().splitlines()) >= 5)
        status = await node.state("backing-off")
    assert status.error == "out of order"
    times = [float(line) for line in started.read_text().splitlines()]
    gaps = [after - before for before, after in pairwise(times)]
    assert all(gap >= 0.05 * 2**number for number, gap in enumerate(gaps[:4])), gaps


async def test_an_envoy_in_a_closed_home_folder_can_be_run(settings: Settings, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    binary = home / "envoy"
    original = launch_plan.plan_of(settings).binary
    try:
        os.link(original, binary)
    except OSError:
        shutil.copy2(original, binary)
    async with agent(settings, binary) as node:
        node.publish()
        assert (await node.state("running")).pid


async def test_remove_leaves_neither_processes_nor_files(settings: Settings) -> None:
    plan = launch_plan.plan_of(settings)
    async with agent(settings) as node:
        node.publish()
        pid = (await node.state("running")).pid
        process = Process.of(pid)
    assert process.alive
    assert plan.shared_memory.exists()
    assert any(str(pid) in text for text in proxy.remove(plan))
    assert not process.alive
    assert not plan.shared_memory.exists()
    assert list(settings.paths.run.iterdir()) == []
    assert proxy.remove(plan) == []


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 15, 20, 30, 40, 60, 80, 120, 200])
async def test_an_agent_that_leaves_while_envoy_starts_leaves_none(
    settings: Settings, milliseconds: int
) -> None:
    """Whoever removes it waits for the start that is under way, and knows the Envoy that comes of it."""
    plan = launch_plan.plan_of(settings)
    async with asyncio.TaskGroup() as tasks:
        supervising = tasks.create_task(proxy.Proxy(plan).supervise())
        await asyncio.sleep(milliseconds / 1000)
        supervising.cancel()
    proxy.remove(plan)
    assert envoys_of(plan) == []
    assert list(settings.paths.run.iterdir()) == []


async def test_an_envoy_whose_agent_was_killed_during_the_start_is_known(settings: Settings) -> None:
    plan = launch_plan.plan_of(settings)
    launch_plan.prepare(plan)
    plan.config.write_text(plan.bootstrap)
    nobody = proxy.Instance(Process(0, 0), 0, plan.fingerprint)
    process = await launch_plan.spawn(plan, 0, asdict(proxy.Record(nobody)))
    assert process is not None
    assert proxy.Record.read(plan.record).current == replace(nobody, process=process)


def envoys_of(plan: launch_plan.Plan) -> list[str]:
    """Command lines of Envoys, or of what is about to be one, with this mesh's files."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if str(plan.settings.paths.run) in line]


async def test_a_pid_that_was_given_to_somebody_else_is_left_alone(settings: Settings) -> None:
    plan = launch_plan.plan_of(settings)
    launch_plan.prepare(plan)
    own = Process.of(os.getpid())
    other = {"process": {"pid": own.pid, "start": own.start - 1}, "epoch": 0, "fingerprint": "x"}
    plan.record.write_text(json.dumps({"current": other, "retiring": []}))
    assert proxy.Record.read(plan.record).processes == ()
    proxy.remove(plan)  # would end the test run


async def test_drain_waits_for_open_connections_but_not_for_ever(settings: Settings) -> None:
    port = free_port()
    async with agent(settings) as node:
        node.publish(LDS=answering(port, "hello"))
        await answers(port, "hello")
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        active = f"listener.127.0.0.1_{port}.downstream_cx_active"
        await node.counter_is(active, 1)
        began = time.monotonic()
        await node.proxy.drain(0.5)
        assert time.monotonic() - began >= 0.5
        writer.close()
        await node.counter_is(active, 0)
        async with asyncio.timeout(LIMIT):
            await node.proxy.drain(3600)


async def test_a_log_that_grew_is_kept_once_and_emptied_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "MAX_LOG_BYTES", 10)
    log = tmp_path / "envoy.log"
    with log.open("a") as envoy:
        envoy.write("more than ten bytes\n")
        envoy.flush()
        proxy.rotate(log)
        envoy.write("after\n")
    assert log.read_text() == "after\n"
    assert (tmp_path / "envoy.log.1").read_text() == "more than ten bytes\n"
