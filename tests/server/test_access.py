"""Who may come in from elsewhere: join tokens as lists show them, and people with their roles."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meshlite.model import wire
from meshlite.server.auth import Role
from meshlite.server.call import Parts
from meshlite.server.refusal import Refusal
from meshlite.server.routes import ROUTES
from tests.server.conftest import FakeTime, Running, make_csr, running, settings_in

MAY = {
    "viewer": {Role.ANYONE, Role.VIEWER},
    "operator": {Role.ANYONE, Role.VIEWER, Role.OPERATOR},
    "admin": {Role.ANYONE, Role.VIEWER, Role.OPERATOR, Role.ADMIN},
}


async def give(server: Running, name: str, role: str, **more: object) -> str:
    answer = await server.admin.post("/v1/access", json={"name": name, "role": role} | more)
    assert answer.status == 200, await answer.text()
    return str((await answer.json())["token"])


async def ask(server: Running, token: str, method: str, path: str, json: Any = None) -> tuple[int, str]:
    """Over TLS to the pinned root, as a person with this token."""
    headers = {"Authorization": f"Bearer {token}"}
    trust = await server.trust(await server.token())
    async with (
        aiohttp.ClientSession(server.url) as session,
        session.request(
            method, path, json=json, headers=headers, ssl=trust, server_hostname="meshlite-server"
        ) as answer,
    ):
        return answer.status, "" if answer.content_type == "application/x-ndjson" else await answer.text()


# --- people ---


@pytest.mark.parametrize("role", MAY)
async def test_a_role_opens_exactly_its_routes(server: Running, role: str) -> None:
    token = await give(server, "ann", role)
    for route in ROUTES:
        path = route.path.replace("{node}", "web-9").replace("{", "").replace("}", "")
        status, text = await ask(server, token, route.method, path)
        if route.allow & MAY[role]:
            assert status not in (401, 403), (route.method, path, text)
        else:
            assert status == 403, (route.method, path, text)
            assert "ann may not" in text


async def test_a_guessed_token_is_nobodys(server: Running) -> None:
    token = await give(server, "ann", "admin")
    secret, _, pin = token.partition(".")
    swapped = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    for guess in (f"{swapped}.{pin}", "x", f".{pin}", secret + "x", "é"):
        status, text = await ask(server, guess, "GET", "/v1/nodes")
        assert status == 401, guess
        assert "unknown, revoked or expired" in text
        assert swapped not in text


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "token"])
async def test_another_scheme_is_refused(server: Running, header: str) -> None:
    async with aiohttp.ClientSession(server.url) as session:
        answer = await session.get("/v1/nodes", headers={"Authorization": header}, ssl=False)
        assert answer.status == 401
        assert "no bearer token" in await answer.text()


async def test_a_join_token_is_no_bearer_token_nor_the_other_way_round(server: Running) -> None:
    assert (await ask(server, await server.token(), "GET", "/v1/nodes"))[0] == 401
    body = {"node": "web-1", "token": await give(server, "ann", "admin"), "csr": make_csr()}
    assert (await server.admin.post("/v1/nodes/join", json=body)).status == 401


async def test_revoked_it_is_out_with_the_next_request(server: Running) -> None:
    token = await give(server, "ann", "operator")
    assert (await ask(server, token, "GET", "/v1/nodes"))[0] == 200
    assert (await server.admin.delete("/v1/access/ann")).status == 204
    assert (await ask(server, token, "GET", "/v1/nodes"))[0] == 401
    assert (await server.admin.delete("/v1/access/ann")).status == 404
    again = await give(server, "ann", "viewer")
    assert (await ask(server, token, "GET", "/v1/nodes"))[0] == 401, "an old token stays out"
    assert (await ask(server, again, "GET", "/v1/nodes"))[0] == 200


async def test_a_name_has_one_access(server: Running) -> None:
    await give(server, "ann", "viewer")
    answer = await server.admin.post("/v1/access", json={"name": "ann", "role": "admin"})
    assert answer.status == 409
    listed = (await (await server.admin.get("/v1/access")).json())["access"]
    assert [(row["name"], row["role"]) for row in listed] == [("ann", "viewer")]


async def test_expired_it_is_nobodys_and_forgotten(parts: Parts, time: FakeTime) -> None:
    request = wire.AccessRequest(name="ann", role="admin", ttl_seconds=60)
    token = (await parts.access.create(request, "root")).token
    time.passes(59)
    assert parts.access.caller(token).name == "ann"
    time.passes(1)
    with pytest.raises(Refusal) as refusal:
        parts.access.caller(token)
    assert refusal.value.status == 401
    assert parts.access.all() == ()
    await parts.access.create(request, "root")
    with pytest.raises(Refusal):
        parts.access.caller(token)


async def test_it_survives_a_restart_and_is_kept_as_a_hash_only(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as server:
        token = await give(server, "ann", "viewer")
    secret = token.split(".", 1)[0].encode()
    for file in settings.paths.database.parent.iterdir():
        assert secret not in file.read_bytes()
    async with running(settings) as server:
        assert (await ask(server, token, "GET", "/v1/nodes"))[0] == 200


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "x" * 64, "<b>", "é"])
async def test_names_are_plain(server: Running, name: str) -> None:
    answer = await server.admin.post("/v1/access", json={"name": name, "role": "viewer"})
    assert answer.status == 400


# --- join tokens ---


async def tokens(server: Running) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await (await server.admin.get("/v1/tokens")).json())["tokens"]
    return rows


async def test_join_tokens_are_listed_without_their_secrets(server: Running) -> None:
    body = {"namespaces": ["shop"], "node": "vm-1", "uses": 2, "ttl_seconds": 60}
    made = await (await server.admin.post("/v1/tokens", json=body)).json()
    (row,) = await tokens(server)
    assert row["id"] == made["id"]
    assert (row["namespaces"], row["node"], row["uses"]) == (["shop"], "vm-1", 2)
    assert row["author"].startswith("uid ")
    assert made["token"].split(".")[0] not in str(row)
    await server.join("vm-1", made["token"])
    assert [row["uses"] for row in await tokens(server)] == [1]
    await server.join("vm-1", made["token"])
    assert await tokens(server) == [], "used up"


async def test_nobody_joins_with_a_revoked_token(server: Running) -> None:
    made = await (await server.admin.post("/v1/tokens", json={"uses": 5})).json()
    kept = await server.token()
    await server.join("web-1", made["token"])
    assert (await server.admin.delete(f"/v1/tokens/{made['id']}")).status == 204
    body = {"node": "web-2", "token": made["token"], "csr": make_csr()}
    assert (await server.admin.post("/v1/nodes/join", json=body)).status == 401
    assert (await server.admin.delete(f"/v1/tokens/{made['id']}")).status == 404
    await server.join("web-3", kept)


async def test_a_revocation_racing_with_joins_leaves_no_way_in(server: Running) -> None:
    made = await (await server.admin.post("/v1/tokens", json={"uses": 100})).json()

    async def join(node: str) -> int:
        body = {"node": node, "token": made["token"], "csr": make_csr()}
        return (await server.admin.post("/v1/nodes/join", json=body)).status

    joins = [join(f"n{i}") for i in range(6)]
    revoke = server.admin.delete(f"/v1/tokens/{made['id']}")
    *_, revoked = await asyncio.gather(*joins, revoke)
    assert revoked.status == 204
    assert await join("late") == 401
    assert await tokens(server) == []
