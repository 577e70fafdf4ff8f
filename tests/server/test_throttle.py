"""Who asks too often, or guesses tokens, has to wait; others, and the local socket, do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meshlite.server import ca, throttle
from meshlite.server.auth import STRANGER, Caller, Role, person
from meshlite.server.refusal import Refusal
from meshlite.server.throttle import FREE_GUESSES, LONGEST_WAIT, NODE, PERSON, Rate, Throttle
from meshlite.server.throttle import STRANGER as RATE
from tests.server.conftest import FakeTime, Running, make_csr, running, settings_in

ANN, BOB = person("ann", "viewer"), person("bob", "viewer")
NODE_1 = Caller("node web-1", frozenset({Role.ANYONE, Role.NODE}), "web-1")


@pytest.mark.parametrize(("caller", "rate"), [(ANN, PERSON), (NODE_1, NODE), (STRANGER, RATE)])
def test_a_burst_then_a_rate_and_others_are_not_held_up(time: FakeTime, caller: Caller, rate: Rate) -> None:
    limits = Throttle(time.clock)
    for _ in range(int(rate.burst)):
        limits.admit(caller, "10.0.0.1")
    with pytest.raises(Refusal) as refused:
        limits.admit(caller, "10.0.0.1")
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    assert limits.refused == 1
    limits.admit(BOB, "10.0.0.1")
    limits.admit(STRANGER, "10.0.0.2")
    limits.admit(caller, "")
    time.passes(1.0)
    for _ in range(int(rate.second)):
        limits.admit(caller, "10.0.0.1")
    with pytest.raises(Refusal):
        limits.admit(caller, "10.0.0.1")


def wait(limits: Throttle, source: str) -> float:
    """How long this address has to, in seconds."""
    try:
        limits.may_guess(source)
    except Refusal as refused:
        return float(refused.headers["Retry-After"])
    return 0.0


def test_each_wrong_token_costs_its_address_more(time: FakeTime) -> None:
    limits = Throttle(time.clock)
    waits = []
    for _ in range(FREE_GUESSES + 8):
        limits.guessed_wrong("10.0.0.1")
        waits.append(wait(limits, "10.0.0.1"))
        limits.may_guess("10.0.0.2")
        time.passes(waits[-1])
        limits.may_guess("10.0.0.1")
    assert waits[: FREE_GUESSES - 1] == [0.0] * (FREE_GUESSES - 1)
    assert waits[FREE_GUESSES - 1 :][:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert max(waits) == waits[-1] == LONGEST_WAIT
    time.passes(throttle.FORGOTTEN + 1)
    limits.guessed_wrong("10.0.0.1")
    limits.may_guess("10.0.0.1")


def test_made_up_addresses_do_not_fill_the_memory(time: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "REMEMBERED", 3)
    limits = Throttle(time.clock)
    for number in range(10):
        limits.admit(STRANGER, f"10.0.0.{number}")
        limits.guessed_wrong(f"10.0.0.{number}")
    assert len(limits._buckets) == len(limits._guesses) == 3


async def test_guesses_over_the_network_are_answered_429_and_right_tokens_wait_too(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "FIRST_WAIT", 3600.0)
    monkeypatch.setattr(throttle, "LONGEST_WAIT", 3600.0)
    async with server.admin.post("/v1/access", json={"name": "ann", "role": "viewer"}) as answer:
        token = (await answer.json())["token"]
    verified: dict[str, Any] = {"ssl": await server.trust(token), "server_hostname": "meshlite-server"}

    async def ask(shown: str) -> int:
        headers = {"Authorization": f"Bearer {shown}"}
        async with session.get("/v1/nodes", headers=headers, **verified) as answer:
            if answer.status == 429:
                assert int(answer.headers["Retry-After"]) >= 1
                assert "too many wrong tokens" in (await answer.json())["error"]
            return answer.status

    async with aiohttp.ClientSession(server.url) as session:
        assert await ask(token) == 200
        seen = [await ask(f"guess-{number}.{'0' * 64}") for number in range(FREE_GUESSES + 1)]
        assert seen == [401] * FREE_GUESSES + [429]
        assert await ask(token) == 429
        joining = {"node": "x", "token": "guess", "csr": ""}
        async with session.post("/v1/nodes/join", json=joining, **verified) as answer:
            assert answer.status == 429
    async with server.admin.get("/v1/nodes") as answer:
        assert answer.status == 200, "the local socket is not held up"


async def test_a_stranger_gets_no_figures_and_whoever_may_look_does(server: Running) -> None:
    async with server.node("web-1"):
        pass
    async with aiohttp.ClientSession(server.url) as session, session.get("/metrics", ssl=False) as answer:
        assert answer.status == 401
    async with server.admin.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        text = await answer.text()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["meshlite_server_certificates_issued_total"]) == 1
    assert float(values["meshlite_server_certificates_valid"]) == 1
    (authority,) = [name for name in values if name.startswith("meshlite_server_authority_expiry")]
    assert 'state="signing"' in authority
    soonest = float(values["meshlite_server_certificate_next_expiry_timestamp_seconds"])
    assert 0 < soonest < float(values[authority])
    assert values['meshlite_server_nodes{state="silent"}'] == "1"
    assert values["meshlite_server_streams"] == "0"
    assert values["meshlite_server_stream_lag_seconds"] == "0"


async def test_headers_are_limited_in_size_and_number(server: Running) -> None:
    many = {f"X-{number}": "x" for number in range(400)}
    for headers in (many, {"X": "x" * 10_000}):
        async with server.admin.get("/v1/health", headers=headers) as answer:
            assert answer.status == 400
    async with server.admin.get("/v1/health?" + "x" * 10_000) as answer:
        assert answer.status in (400, 414)
    async with server.admin.get("/v1/health") as answer:
        assert answer.status == 200


async def test_a_mesh_may_change_its_trust_domain_while_nodes_have_certificates_of_the_former(
    tmp_path: Path,
) -> None:
    key, before = ca.new_key(), settings_in(tmp_path)
    async with running(before) as server:
        certificate = await server.join("web-1", key=key)
    renamed = before.model_copy(update={"trust_domain": "new.mesh"})
    async with (
        running(renamed) as server,
        server.session(certificate, key) as node,
        node.get("/v1/snapshot") as answer,
    ):
        assert answer.status == 401
    aliased = renamed.model_copy(update={"trust_domain_aliases": ("cluster.local",)})
    async with running(aliased) as server, server.session(certificate, key) as node:
        async with node.get("/v1/snapshot") as answer:
            assert (await answer.json())["trust_domain"] == "new.mesh"
        renewal = {"csr": make_csr()}
        async with node.post("/v1/nodes/web-1/certificate", json=renewal) as answer:
            assert (await answer.json())["identity"] == "spiffe://new.mesh/node/web-1"
