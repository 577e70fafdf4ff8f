"""The audit log: every change and every refusal, without secrets, over kills, bounded and chained."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import aiohttp

from meshlite.server.audit import REFUSALS, open_audit
from meshlite.server.mirror import Mirror
from meshlite.server.store.memory import MemoryStore
from tests.server.conftest import FakeTime, Running, make_csr, running, settings_in
from tests.server.test_api import apply, rule
from tests.server.test_process import call, process


async def entries(server: Running) -> list[dict[str, Any]]:
    answer = await (await server.admin.get("/v1/audit")).json()
    assert answer["intact"]
    rows: list[dict[str, Any]] = answer["entries"]
    return rows


def told(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["action"], row["subject"], row["status"]


async def test_changes_are_told_with_who_what_whence_and_result(server: Running) -> None:
    await server.admin.put("/v1/nodes/web-1/projects", json={"projects": ["shop"]})
    made = await (await server.admin.post("/v1/tokens", json={})).json()
    await server.admin.post("/v1/access", json={"name": "ann", "role": "viewer"})
    body = apply(rule(host="nobody.example.com"), allow_missing_hosts=True)
    await server.admin.post("/v1/resources", json=body | {"dry_run": True})
    await server.admin.post("/v1/resources", json=body)
    await server.admin.delete("/v1/access/ann")
    rows = await entries(server)
    assert [told(row) for row in rows] == [
        ("PUT /v1/nodes/{node}/projects", "web-1", 200),
        ("POST /v1/tokens", made["id"], 200),
        ("POST /v1/access", "ann (viewer)", 200),
        ("POST /v1/resources", "DestinationRule/shop/reviews", 200),
        ("DELETE /v1/access/{name}", "ann", 204),
    ]
    assert all(row["who"].startswith("uid ") and row["source"] == "local socket" for row in rows)


async def test_refusals_are_told_also_where_nothing_would_have_changed(server: Running) -> None:
    made = await (await server.admin.post("/v1/access", json={"name": "ann", "role": "viewer"})).json()
    async with aiohttp.ClientSession(server.url) as session:
        ann = {"Authorization": f"Bearer {made['token']}"}
        guess = {"Authorization": "Bearer s3cret-guess"}
        await session.get("/v1/nodes", ssl=False)
        await session.get("/v1/nodes", headers=guess, ssl=False)
        await session.get("/v1/nodes", headers=ann, ssl=False)
        await session.delete("/v1/nodes/web-1", headers=ann, ssl=False)
        join = {"node": "web-7", "token": "s3cret-token", "csr": make_csr()}
        await session.post("/v1/nodes/join", json=join, ssl=False)
    rows = (await entries(server))[1:]
    assert [told(row) for row in rows] == [
        ("GET /v1/nodes", "", 401),
        ("GET /v1/nodes", "", 401),
        ("DELETE /v1/nodes/{node}", "web-1", 403),
        ("POST /v1/nodes/join", "web-7", 401),
    ]
    assert [row["who"] for row in rows] == ["a stranger", "a stranger", "ann", "a stranger"]
    assert {row["source"] for row in rows} == {"127.0.0.1"}
    assert "unknown" in rows[3]["reason"]
    assert "s3cret" not in str(rows)
    assert made["token"].split(".")[0] not in str(await entries(server))


async def test_one_source_cannot_push_others_out(server: Running) -> None:
    await server.admin.post("/v1/tokens", json={})
    async with aiohttp.ClientSession(server.url) as session:
        for _ in range(2 * REFUSALS + 10):
            assert (await session.get("/v1/nodes", ssl=False)).status == 401
    assert len(await entries(server)) <= 1 + 2 * REFUSALS  # a minute may end meanwhile


def test_it_survives_a_kill(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with process(settings) as first:
        ids = [call(settings, "POST", "/v1/tokens", {})["id"] for _ in range(5)]
        first.kill()
        first.wait()
    with process(settings):
        call(settings, "POST", "/v1/tokens", {})
        answer = call(settings, "GET", "/v1/audit")
    assert answer["intact"]
    assert [row["subject"] for row in answer["entries"]][:5] == ids
    assert [row["number"] for row in answer["entries"]] == [1, 2, 3, 4, 5, 6]


async def test_a_changed_or_missing_entry_shows(tmp_path: Path) -> None:
    for change in (
        "UPDATE entries SET value = CAST(replace(CAST(value AS TEXT), 'web-2', 'web-9') AS BLOB) "
        "WHERE key = 'audit/000000000002'",
        "DELETE FROM entries WHERE key = 'audit/000000000002'",
    ):
        settings = settings_in(tmp_path / str(len(change)))
        async with running(settings) as server:
            for name in ("web-1", "web-2", "web-3"):
                await server.admin.put(f"/v1/nodes/{name}/projects", json={})
            assert len(await entries(server)) == 3
        with sqlite3.connect(settings.paths.database) as database:
            assert database.execute(change).rowcount == 1
        database.close()
        async with running(settings) as server:
            assert not (await (await server.admin.get("/v1/audit")).json())["intact"]


async def test_only_the_newest_are_kept(time: FakeTime) -> None:
    store = MemoryStore()
    mirror = Mirror(store)
    log = await open_audit(mirror, store, time.clock, 3)
    for number in range(5):
        await log.record("ann", "local socket", "POST /v1/tokens", str(number), 200)
        time.passes(10)
    kept = await log.latest(10)
    assert [entry.subject for entry in kept.entries] == ["2", "3", "4"]
    assert kept.intact
    fewer = await open_audit(mirror, store, time.clock, 2)
    assert [entry.subject for entry in (await fewer.latest(10)).entries] == ["3", "4"]
    recent = await fewer.latest(10, since=time.wall - 10)
    assert [entry.subject for entry in recent.entries] == ["4"]


async def test_admins_only_may_read_it(server: Running) -> None:
    made = await (await server.admin.post("/v1/access", json={"name": "ola", "role": "operator"})).json()
    async with aiohttp.ClientSession(server.url) as session:
        header = {"Authorization": f"Bearer {made['token']}"}
        assert (await session.get("/v1/audit", headers=header, ssl=False)).status == 403
