"""Calls between two hosts: by mutual TLS through one port, under the caller's own identity."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.netns.hosts import Estate, address_of, estate, wait
from tests.netns.meshed import ask, get, until, web
from tests.netns.test_tokens import issuer, token
from tests.netns.world import Box, dial, serving

ONE, TWO = (f"cluster.local/ns/test/sa/{name}" for name in ("one", "two"))
HTTP, TCP, AUTO = 8000, 7000, 6000
PORTS = f"http:{HTTP},tcp:{TCP},{AUTO}"


OWN_PATHS = f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: own-paths}}
spec:
  selector: {{matchLabels: {{app: echo}}}}
  rules:
  - from: [{{source: {{principals: [{ONE}]}}}}]
    to: [{{operation: {{paths: [/one]}}}}, {{operation: {{ports: ["{TCP}"]}}}}]
  - from: [{{source: {{principals: [{TWO}]}}}}]
    to: [{{operation: {{paths: [/two]}}}}]
---
# What is noted is noted by the called side, and then that side alone judges.
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: noted}}
spec:
  selector: {{matchLabels: {{app: echo}}}}
  action: AUDIT
  rules: [{{}}]
"""

STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict}
spec:
  selector: {matchLabels: {app: echo}}
  mtls: {mode: STRICT}
"""


@pytest.fixture(scope="module")
def both() -> Iterator[Estate]:
    with estate({"a": ("one", "two", "echo"), "b": ("echo", "far")}) as made:
        made.a.declare("one", ports=f"http:{HTTP}")
        made.a.declare("two", ports=f"http:{HTTP}")
        made.b.declare("echo", ports=PORTS)
        for name in ("one", "two"):
            wait(lambda name=name: address_of(made.a.boxes[name], "echo"), f"names in {name}")
        for host in (made.a, made.b):
            wait(lambda host=host: host.captured, f"capture on {host.name}")
        yield made


async def test_requests_and_bytes_reach_a_replica_on_the_other_host(both: Estate) -> None:
    one, echo = both.a.boxes["one"], both.b.boxes["echo"]
    address = address_of(one, "echo")
    async with (
        web(echo, "0.0.0.0", HTTP, "far"),
        serving(echo, "0.0.0.0", TCP, "bytes"),
        web(echo, "0.0.0.0", AUTO, "auto"),
    ):
        await until(lambda: get(one, address, HTTP, "echo"), "200 far")
        await until(lambda: get(one, address, AUTO, "echo"), "200 auto")
        await until(lambda: dial(one, address, TCP), "bytes")


@pytest.fixture
def own_paths(both: Estate) -> Iterator[None]:
    """Each caller has a path of its own, `one` the port for bytes; the called host decides."""
    both.apply(OWN_PATHS)
    yield
    both.delete("authorizationpolicy", "own-paths", "noted")


async def test_callers_that_share_a_cluster_are_each_known_by_their_own_identity(
    both: Estate, own_paths: None
) -> None:
    """At the same time and one after the other, by one worker of the proxy, which could share connections."""
    one, two = both.a.boxes["one"], both.a.boxes["two"]
    echo = both.b.boxes["echo"]
    address = address_of(one, "echo")

    async def requests(where: Box, path: str) -> str:
        return str((await ask(where, address, HTTP, "echo", path))[0])

    async with web(echo, "0.0.0.0", HTTP, "far"), serving(echo, "0.0.0.0", TCP, "bytes"):
        await until(lambda: requests(two, "/one"), "403")
        await until(lambda: requests(two, "/two"), "200")
        await until(lambda: requests(one, "/one"), "200")
        await until(lambda: dial(one, address, TCP), "bytes")
        await until(lambda: dial(two, address, TCP), "")
        cases = ((one, "/one"), (two, "/one"), (two, "/two"), (one, "/two"))
        answers, greetings = await asyncio.gather(
            asyncio.gather(*(requests(*case) for case in cases * 10)),
            asyncio.gather(*(dial(where, address, TCP) for where in (one, two) * 10)),
        )
        for case in cases * 5:
            answers.append(await requests(*case))
    assert answers == ["200", "403"] * (len(answers) // 2)
    assert ["bytes" in greeting for greeting in greetings] == [True, False] * 10


@pytest.fixture
def strict(both: Estate) -> Iterator[None]:
    both.apply(STRICT)
    yield
    both.delete("peerauthentication", "strict")


async def test_strict_refuses_strangers_and_lets_in_who_comes_by_the_tunnel(
    both: Estate, strict: None
) -> None:
    one, echo, stranger = both.a.boxes["one"], both.b.boxes["echo"], both.b.boxes["far"]
    assert one.v4 == echo.v4, "containers of two hosts may have the same address"
    address = address_of(one, "echo")
    async with web(echo, "0.0.0.0", HTTP, "far"), serving(echo, "0.0.0.0", TCP, "bytes"):
        await until(lambda: dial(stranger, echo.v4, TCP), "refused")
        assert (await get(one, address, HTTP, "echo")).startswith("200 far")
        assert "bytes" in await dial(one, address, TCP)


@pytest.fixture
def tokens(both: Estate) -> Iterator[None]:
    """Calls to echo carry a token, whoever makes them."""
    chosen = {"selector": {"matchLabels": {"app": "echo"}}}
    kinds = {
        "RequestAuthentication": {"jwtRules": [issuer()]},
        "AuthorizationPolicy": {"rules": [{"from": [{"source": {"requestPrincipals": ["*"]}}]}]},
    }
    for kind, spec in kinds.items():
        fields = {"metadata": {"name": "tokens"}, "spec": {**chosen, **spec}}
        both.apply(json.dumps({"apiVersion": "security.istio.io/v1", "kind": kind, **fields}))
    yield
    for kind in kinds:
        both.delete(kind.lower(), "tokens")


async def test_the_called_host_looks_at_tokens(both: Estate, tokens: None) -> None:
    one, echo = both.a.boxes["one"], both.b.boxes["echo"]
    address = address_of(one, "echo")

    async def status(*headers: str) -> str:
        return str((await ask(one, address, HTTP, "echo", "/", *headers))[0])

    async with web(echo, "0.0.0.0", HTTP, "far"):
        await until(status, "403")
        await until(lambda: status(f"authorization: Bearer {token()}"), "200")
        assert await status("authorization: Bearer no") == "401"


async def test_replicas_of_two_hosts_share_calls_and_a_host_that_is_lost_takes_none_with_it(
    both: Estate,
) -> None:
    one, near, far = both.a.boxes["one"], both.a.boxes["echo"], both.b.boxes["echo"]
    address = address_of(one, "echo")

    async def answers() -> set[str]:
        return {(await get(one, address, HTTP, "echo")).split()[1] for _ in range(8)}

    async def answered(wanted: set[str]) -> str:
        return str(await answers() == wanted)

    both.a.declare("echo", ports=PORTS)
    try:
        async with web(near, "0.0.0.0", HTTP, "near"), web(far, "0.0.0.0", HTTP, "far"):
            await until(lambda: answered({"near", "far"}), "True")
            both.cut()
            await until(lambda: answered({"near"}), "True")
            both.cut(broken=False)
            await until(lambda: answered({"near", "far"}), "True")
    finally:
        both.cut(broken=False)
        both.a.withdraw("echo")
