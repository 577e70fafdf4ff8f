"""Another root: announced, signing, alone; who is in the way; nothing lost wherever it is interrupted."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meshlite.agent.keys import pins
from meshlite.server import ca
from meshlite.server.authorities import AuthorityBook, open_book
from meshlite.server.clock import Clock
from tests.server.conftest import FakeTime, Running, make_csr, running, settings_in

IDENTITY = "spiffe://cluster.local/ns/shop/sa/reviews"
STEPS = ("announce", "sign", "drop")


def book(folder: Path, time: FakeTime) -> AuthorityBook:
    return open_book(folder, "cluster.local", 3600.0, time.clock)


# --- the book: what is on the disk ---


@pytest.mark.parametrize("steps", [(), STEPS[:1], STEPS[:2], STEPS, (*STEPS, *STEPS), ("announce", "cancel")])
def test_after_a_restart_it_stands_where_it_stood(
    tmp_path: Path, time: FakeTime, steps: tuple[str, ...]
) -> None:
    made = book(tmp_path, time)
    for step in steps:
        getattr(made, step)()
    again = book(tmp_path, time)
    assert (again.phase, again.trust, again.former) == (made.phase, made.trust, made.former)
    assert again.bridges == made.bridges
    assert again.current.sign(make_csr(), IDENTITY, time.wall).chain
    if made.coming:
        assert again.coming is not None
        assert again.coming.signer == made.coming.signer


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("write", range(1, 4))
def test_killed_between_any_two_writes_it_stands_before_or_after_the_step(
    tmp_path: Path, time: FakeTime, monkeypatch: pytest.MonkeyPatch, step: int, write: int
) -> None:
    """What a kill leaves: the files as they are after so many writes."""
    made = book(tmp_path, time)
    for done in STEPS[:step]:
        getattr(made, done)()
    before = made.trust
    real, left = ca.write, [write]

    def dying(file: Path, content: bytes, mode: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        real(file, content, mode)

    monkeypatch.setattr(ca, "write", dying)
    with contextlib.suppress(KeyboardInterrupt):
        getattr(made, (*STEPS, "announce")[step])()
    monkeypatch.undo()
    again = book(tmp_path, time)
    assert again.trust in (before, made.trust)
    while again.phase != "steady":
        getattr(again, {"announced": "sign", "signing": "drop"}[again.phase])()
    assert again.current.sign(make_csr(), IDENTITY, time.wall).chain


def test_keys_are_readable_by_their_owner_only_and_go_with_their_root(tmp_path: Path, time: FakeTime) -> None:
    made = book(tmp_path, time)
    for step in STEPS:
        getattr(made, step)()
        keys = list(tmp_path.glob("*key.pem"))
        assert len(keys) == (2 if step == "announce" else 1), step
        assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
    assert not (tmp_path / "root-key.pem").exists()


def test_what_is_missing_or_unreadable_is_said(tmp_path: Path, time: FakeTime) -> None:
    made = book(tmp_path, time)
    made.announce()
    (key,) = tmp_path.glob("ca-*-key.pem")
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(ValueError, match="is gone: restore"):
        book(tmp_path, time)
    key.write_bytes(kept)
    key.chmod(0o644)
    with pytest.raises(ValueError, match="others may read this key"):
        book(tmp_path, time)
    (tmp_path / "trust.json").write_text("garbage")
    with pytest.raises(ValueError, match=r"trust\.json: cannot be read"):
        book(tmp_path, time)


def test_former_roots_are_remembered_as_long_as_tokens_carry_their_hash(
    tmp_path: Path, time: FakeTime
) -> None:
    made = book(tmp_path, time)
    first = made.current.pin
    for step in (*STEPS, *STEPS):
        getattr(made, step)()
    second = made.former[0].pin
    assert pins(made.remembered) == {first, second}
    made.forget({second})
    assert pins(made.remembered) == {second}
    made.forget(())
    assert made.remembered == ""
    assert pins(made.trust.roots) == {made.current.pin}


# --- over the API, with real TLS ---


async def look(server: Running) -> dict[str, Any]:
    async with server.admin.get("/v1/authorities") as answer:
        assert answer.status == 200
        value: dict[str, Any] = await answer.json()
        return value


async def take(server: Running, step: str, *without: str) -> tuple[int, dict[str, Any]]:
    body = {"step": step, "without": list(without)}
    async with server.admin.post("/v1/authorities/rotation", json=body) as answer:
        return answer.status, await answer.json()


async def says(node: aiohttp.ClientSession, roots: set[str], signers: set[str]) -> None:
    """The node's lease and status, as its agent sends them."""
    await node.put("/v1/nodes/web-1/workloads", json={"workloads": []})
    body = {"trust": {"roots": sorted(roots), "signers": sorted(signers)}}
    async with node.put("/v1/nodes/web-1/status", json=body) as answer:
        assert answer.status == 204


async def test_each_step_waits_for_whoever_depends_on_how_it_is(server: Running) -> None:
    async with server.node("web-1") as node:
        first = (await look(server))["signing"]["sha256"]
        assert (await take(server, "sign"))[0] == 409, "not before the announcement"
        status, value = await take(server, "announce")
        assert (status, value["phase"]) == (200, "announced")
        second = value["coming"]["sha256"]
        assert "silent" in value["waiting"][0]["why"]
        await says(node, {first}, {first})
        status, refused = await take(server, "sign")
        assert status == 409
        assert "node web-1: does not trust the next root yet" in refused["error"]
        await says(node, {first, second}, {first})
        status, value = await take(server, "sign")
        assert (status, value["phase"], value["signing"]["sha256"]) == (200, "signing", second)
        status, refused = await take(server, "drop")
        assert status == 409
        assert "still uses certificates" in refused["error"]
        await says(node, {first, second}, {first, second})
        assert (await take(server, "drop"))[0] == 409
        await says(node, {first, second}, {second})
        status, value = await take(server, "drop")
        assert (status, value["phase"], value["waiting"]) == (200, "steady", [])
    async with server.admin.get("/v1/audit") as answer:
        entries = [e for e in (await answer.json())["entries"] if "rotation" in e["action"]]
    assert [e["status"] for e in entries] == [409, 200, 409, 200, 409, 409, 200]
    assert {e["subject"] for e in entries if e["status"] == 409} == {"sign", "drop"}


async def test_a_node_that_never_comes_back_is_left_behind_on_request_only(server: Running) -> None:
    async with server.node("web-1"):
        pass
    await take(server, "announce")
    assert (await take(server, "sign"))[0] == 409
    assert (await take(server, "sign", "web-1"))[0] == 200
    assert (await take(server, "drop", "web-1"))[0] == 200


async def test_an_announcement_is_taken_back_while_it_does_not_sign(server: Running) -> None:
    before = await look(server)
    await take(server, "announce")
    assert (await take(server, "cancel"))[0] == 200
    assert (await look(server)) == before
    assert (await take(server, "cancel"))[0] == 409
    await take(server, "announce")
    await take(server, "sign")
    assert (await take(server, "cancel"))[0] == 409


async def health(server: Running, context: ssl.SSLContext) -> int:
    async with (
        aiohttp.ClientSession(server.url) as session,
        session.get("/v1/health", ssl=context, server_hostname="meshlite-server") as answer,
    ):
        return answer.status


async def test_whoever_knows_one_root_knows_the_server_through_all_steps(server: Running) -> None:
    """Tokens carry the hash of a root; those made before, between and after must do."""
    tokens = [await server.token()]
    for step in (*STEPS, *STEPS):
        assert (await take(server, step))[0] == 200
        tokens.append(await server.token())
        for token in tokens:
            assert await health(server, await server.trust(token)) == 200, step
    assert len({token.rpartition(".")[2] for token in tokens}) == 3
    await server.join("web-9", tokens[0])


async def test_a_certificate_of_a_dropped_root_opens_nothing(server: Running) -> None:
    key = ca.new_key()
    certificate = await server.join("web-1", key=key)
    await take(server, "announce")
    await take(server, "sign", "web-1")
    async with server.session(certificate, key) as node, node.get("/v1/snapshot") as answer:
        assert answer.status == 200, "it counts while its root does"
        both = pins((await answer.json())["trust"]["roots"])
    assert {one["sha256"] for one in (await look(server))["former"]} < both
    await take(server, "drop", "web-1")
    async with server.session(certificate, key) as node:
        with pytest.raises(aiohttp.ClientError):
            await node.get("/v1/snapshot")


async def test_it_goes_on_after_a_restart_in_the_middle(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as server:
        await take(server, "announce")
        announced = await look(server)
    async with running(settings) as server:
        assert await look(server) == announced
        await take(server, "sign")
    async with running(settings) as server:
        assert (await look(server))["phase"] == "signing"
        assert (await take(server, "drop"))[0] == 200
        await server.join("web-1")


def test_the_clock_of_the_book_is_that_of_the_server(tmp_path: Path) -> None:
    made = open_book(tmp_path, "cluster.local", 60.0, Clock(lambda: 1_900_000_000.0))
    made.announce()
    assert made.coming is not None
    assert made.coming.root.not_valid_before_utc.timestamp() == 1_900_000_000.0 - ca.BACKDATED
