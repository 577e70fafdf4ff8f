"""AuthorizationPolicy in a real Envoy between captured namespaces: who may call whom, by every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshlite.agent.capture import Capture
from meshlite.config import Settings
from meshlite.model.mesh import Resource
from tests.netns.meshed import VIRTUAL, Proxy, ask, captured, envoy, until
from tests.netns.world import Box, dial

NEIGHBOUR = "neighbour.test.svc.cluster.local"


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    """The app captured and permissive, the neighbour strict; Envoy has what translate makes of them."""
    made = await captured(settings, capture, boxes)
    async with envoy(capture, made, boxes):
        yield made


def policy(name: str, action: str, *rules: dict[str, Any], app: str = "neighbour", **more: Any) -> Resource:
    spec = {"action": action, "rules": list(rules), "selector": {"matchLabels": {"app": app}}, **more}
    return Resource(
        api_version="security.istio.io/v1", kind="AuthorizationPolicy", name=name, namespace="test", spec=spec
    )


def source(**fields: Any) -> dict[str, Any]:
    return {"from": [{"source": fields}]}


def operation(**fields: Any) -> dict[str, Any]:
    return {"to": [{"operation": fields}]}


async def status(box: Box | None, path: str = "/", *headers: str, method: str = "GET", to: str = "") -> str:
    """What a request to the neighbour is answered with."""
    address = to or VIRTUAL["neighbour"]
    code, _, _ = await ask(box, address, 8000, "neighbour", path, *headers, method=method)
    return str(code)


async def test_only_those_named_get_in(proxy: Proxy, app: Box, neighbour: Box) -> None:
    proxy.resources = [policy("app", "ALLOW", source(principals=["cluster.local/ns/test/sa/app"]))]
    await proxy.push()
    await until(lambda: status(neighbour), "403")
    for address in (VIRTUAL["neighbour"], neighbour.v4):
        assert await status(app, to=address) == "200"
        assert await status(neighbour, to=VIRTUAL["neighbour"]) == "403"
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
    assert await dial(neighbour, VIRTUAL["neighbour"], 8080) == ""
    await proxy.said("denied GET neighbour / of outbound|8000||neighbour.test.svc.cluster.local")
    await proxy.said("denied connection to neighbour.test.svc.cluster.local:8080")


async def test_a_denial_names_its_policy(proxy: Proxy, app: Box) -> None:
    proxy.resources = [policy("no-writes", "DENY", operation(methods=["POST", "DEL*"], ports=["8000"]))]
    await proxy.push()
    await until(lambda: status(app, method="POST"), "403")
    assert await status(app, method="DELETE") == "403"
    assert await status(app) == "200"
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
    await proxy.said("rbac_access_denied_matched_policy[ns[test]-policy[no-writes]-rule[0]]")


async def test_nothing_is_allowed_by_a_policy_without_rules(proxy: Proxy, app: Box, neighbour: Box) -> None:
    spec: dict[str, Any] = {}
    proxy.resources = [policy("nothing", "ALLOW").model_copy(update={"spec": spec})]
    await proxy.push()
    await until(lambda: status(app), "403")
    assert await dial(app, VIRTUAL["neighbour"], 8080) == ""
    assert await dial(neighbour, VIRTUAL["app"], 8080) == ""
    assert await dial(None, app.v4, 8080) == ""
    code, _, _ = await ask(None, app.v4, 8000, "app")
    assert code == 403
    proxy.resources = []
    await proxy.push()
    await until(lambda: dial(app, VIRTUAL["neighbour"], 8080), "neighbour ")
    assert await status(app) == "200"


@pytest.mark.parametrize("apart", [False, True], ids=["callers-side", "inbound-chain"])
@pytest.mark.parametrize(
    ("rule", "allowed", "denied"),
    [
        (operation(paths=["/a", "/b/*", "*.png"]), ["/a", "/b/c", "/x.png", "/a?q=/z"], ["/ab", "/b", "/"]),
        (operation(paths=["/v/{*}/x", "/w/{**}"]), ["/v/1/x", "/w/1/2"], ["/v/1/2/x", "/w"]),
        (operation(notPaths=["/admin*"]), ["/"], ["/admin", "/admin/x", "/x/../admin", "/%61dmin"]),
        (operation(hosts=["NEIGHBOUR"]), ["/"], []),
        (operation(hosts=["other.com"]), [], ["/"]),
        (operation(ports=["8000"]), ["/"], []),
        (operation(ports=["8001"]), [], ["/"]),
        (source(namespaces=["test"]), ["/"], []),
        (source(namespaces=["t*"], notPrincipals=["*/sa/app"]), [], ["/"]),
        (source(serviceAccounts=["app"]), ["/"], []),
        (source(serviceAccounts=["test/neighbour"]), [], ["/"]),
        (source(trustDomains=["cluster.local"]), ["/"], []),
        (source(ipBlocks=["10.77.0.2"]), ["/"], []),
        (source(ipBlocks=["10.77.0.3", "fd77::/64"]), [], ["/"]),
        (source(notIpBlocks=["10.77.0.0/30"]), [], ["/"]),
        (source(remoteIpBlocks=["10.77.0.0/24"]), ["/"], []),
        ({"when": [{"key": "source.ip", "values": ["10.77.0.0/24"]}]}, ["/"], []),
        ({"when": [{"key": "destination.ip", "values": ["10.77.0.3"]}]}, ["/"], []),
        ({"when": [{"key": "destination.ip", "values": ["10.77.0.2"]}]}, [], ["/"]),
        ({"when": [{"key": "destination.port", "notValues": ["8000"]}]}, [], ["/"]),
        ({"when": [{"key": "source.principal", "values": ["*"]}]}, ["/"], []),
        ({"when": [{"key": "request.auth.principal", "values": ["*"]}]}, [], ["/"]),
    ],
)
async def test_what_a_rule_lets_in(
    proxy: Proxy, app: Box, rule: dict[str, Any], allowed: list[str], denied: list[str], apart: bool
) -> None:
    """A second policy that is only tried out puts the judging behind an inbound chain."""
    proxy.resources = [policy("rule", "ALLOW", rule, operation(paths=["/is-in-effect"]))]
    if apart:
        trial = policy("trial", "DENY", operation(paths=["/nobody"]))
        proxy.resources.append(trial.model_copy(update={"annotations": {"istio.io/dry-run": "true"}}))
    await proxy.push()
    await until(lambda: status(app, "/is-in-effect"), "200")
    await until(lambda: _either(app, allowed, denied), "as wanted")


async def _either(app: Box, allowed: list[str], denied: list[str]) -> str:
    wrong = [path for path in allowed if await status(app, path) != "200"]
    wrong += [path for path in denied if await status(app, path) != "403"]
    return f"wrong: {wrong}" if wrong else "as wanted"


async def test_headers_are_conditions(proxy: Proxy, app: Box) -> None:
    condition = {"key": "request.headers[X-Token]", "values": ["secret-*"], "notValues": ["secret-old"]}
    proxy.resources = [policy("token", "ALLOW", {"when": [condition]})]
    await proxy.push()
    await until(lambda: status(app), "403")
    assert await status(app, "/", "x-token: secret-1") == "200"
    assert await status(app, "/", "x-token: secret-old") == "403"
    assert await status(app, "/", "x-token: public") == "403"


async def test_connections_are_judged_by_what_they_have(proxy: Proxy, app: Box, neighbour: Box) -> None:
    """What only HTTP has never lets a connection in, and does not keep a DENY from holding."""
    proxy.resources = [policy("gets", "ALLOW", operation(methods=["GET"]))]
    await proxy.push()
    await until(lambda: dial(app, VIRTUAL["neighbour"], 8080), "")
    await until(lambda: _silent(app), "silent")
    assert await status(app) == "200"
    deny = {**source(principals=["*/sa/app"]), **operation(methods=["POST"])}
    proxy.resources = [policy("posts", "DENY", deny)]
    await proxy.push()
    await until(lambda: dial(neighbour, VIRTUAL["neighbour"], 8080), "neighbour ")
    assert await dial(app, VIRTUAL["neighbour"], 8080) == ""
    assert await status(app) == "200"
    assert await status(app, method="POST") == "403"


async def _silent(box: Box) -> str:
    return "silent" if await dial(box, VIRTUAL["neighbour"], 8080) == "" else "heard"


async def test_strangers_have_no_identity(proxy: Proxy, app: Box, neighbour: Box) -> None:
    proxy.resources = [policy("mesh", "ALLOW", source(principals=["*"]), app="app")]
    await proxy.push()

    async def stranger() -> str:
        return str((await ask(None, app.v4, 8000, "app"))[0])

    await until(stranger, "403")
    assert await dial(None, app.v4, 8080) == ""
    assert (await ask(neighbour, VIRTUAL["app"], 8000, "app"))[0] == 200
    assert (await dial(neighbour, VIRTUAL["app"], 8080)).startswith("app ")
    proxy.resources = [policy("host", "ALLOW", source(ipBlocks=["10.77.0.1"]), app="app")]
    await proxy.push()
    await until(stranger, "200")
    await until(lambda: dial(None, app.v4, 8080), "app ")
    assert (await ask(neighbour, VIRTUAL["app"], 8000, "app"))[0] == 403
    await proxy.said("denied GET app / of app.test.svc.cluster.local from - at 10.77.0.1")


@pytest.mark.parametrize("apart", [False, True], ids=["callers-side", "inbound-chain"])
async def test_connections_by_address(proxy: Proxy, app: Box, neighbour: Box, apart: bool) -> None:
    """Each connection by its own address, also where an inbound chain is reached by pooled connections."""
    app.run("ip addr add 10.77.0.22/24 dev eth0")
    proxy.resources = [policy("address", "ALLOW", source(ipBlocks=["10.77.0.22", "10.77.0.3"]))]
    if apart:
        trial = policy("trial", "DENY", operation(paths=["/nobody"]))
        proxy.resources.append(trial.model_copy(update={"annotations": {"istio.io/dry-run": "true"}}))
    await proxy.push()
    await until(lambda: _silent(app), "silent")
    await until(lambda: dial(neighbour, VIRTUAL["neighbour"], 8080), "neighbour ")
    await until(lambda: _status_from(app, "10.77.0.22"), "200")
    for _ in range(3):
        assert await status(app) == "403"
        assert await _status_from(app, "10.77.0.22") == "200"


async def _status_from(box: Box, address: str) -> str:
    made = box.socket(address)
    made.bind((address, 0))
    await asyncio.get_running_loop().sock_connect(made, (VIRTUAL["neighbour"], 8000))
    reader, writer = await asyncio.open_connection(sock=made)
    writer.write(b"GET / HTTP/1.1\r\nHost: neighbour\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.decode().split()[1]


async def test_an_inbound_chain_sends_no_byte_to_who_is_denied(
    proxy: Proxy, app: Box, neighbour: Box
) -> None:
    """The server speaks first; a policy that is tried out puts the judging behind an inbound chain."""
    trial = policy("trial", "DENY", source(principals=["*/sa/neighbour"]))
    proxy.resources = [
        policy("app", "DENY", source(principals=["*/sa/app"])),
        trial.model_copy(update={"annotations": {"istio.io/dry-run": "true"}}),
    ]
    await proxy.push()
    await until(lambda: _silent(app), "silent")
    await until(lambda: dial(neighbour, VIRTUAL["neighbour"], 8080), "neighbour ")
    assert await _silent(app) == "silent"
    await proxy.said("denied connection to neighbour.test.svc.cluster.local:8080")
    assert await status(neighbour) == "200"
    await proxy.said("would deny GET neighbour / of neighbour.test.svc.cluster.local")


async def test_replicas_are_guarded_each_by_its_own(proxy: Proxy, app: Box, neighbour: Box) -> None:
    """One service of two workloads that a policy tells apart."""
    both = {"service": "neighbour", "service_account": ""}
    proxy.workloads = [
        proxy.workloads[0].model_copy(update={**both, "version": "v1", "service_account": "app"}),
        proxy.workloads[1].model_copy(update={**both, "version": "v2"}),
    ]
    only = policy("v2", "ALLOW", operation(paths=["/open"]))
    selector = {"matchLabels": {"version": "v2"}}
    proxy.resources = [only.model_copy(update={"spec": {**only.spec, "selector": selector}})]
    await proxy.push()

    async def answers(path: str) -> str:
        found = {await _body(app, path) for _ in range(12)}
        return " ".join(sorted(found))

    await until(lambda: answers("/"), "200 app 403 RBAC:")
    assert await answers("/open") == "200 app 200 neighbour"
    assert await _body(app, "/", neighbour.v4) == "403 RBAC:"
    assert await _body(neighbour, "/", app.v4) == "200 app"


async def _body(box: Box, path: str, address: str = VIRTUAL["neighbour"]) -> str:
    host = "neighbour" if address == VIRTUAL["neighbour"] else address
    code, _, body = await ask(box, address, 8000, host, path)
    return f"{code} {body.split()[0]}"


def virtual_service(*rules: dict[str, Any]) -> Resource:
    return Resource(
        api_version="networking.istio.io/v1",
        kind="VirtualService",
        name="neighbour",
        namespace="test",
        spec={"hosts": ["neighbour"], "http": list(rules)},
    )


async def test_the_request_is_judged_as_the_destination_sees_it(proxy: Proxy, app: Box) -> None:
    """After the client's rewrite; and where a route leads elsewhere, by that one's policies."""
    rewritten = {
        "match": [{"uri": {"prefix": "/in"}}],
        "rewrite": {"uri": "/out", "authority": "inner"},
        "route": [{"destination": {"host": "neighbour"}}],
    }
    away = {"match": [{"uri": {"prefix": "/away"}}], "route": [{"destination": {"host": "app"}}]}
    mixed = {
        "route": [
            {"destination": {"host": "neighbour"}, "weight": 50},
            {"destination": {"host": "app"}, "weight": 50},
        ]
    }
    proxy.resources = [
        virtual_service(rewritten, away, mixed),
        policy("out", "ALLOW", operation(paths=["/out*"], hosts=["inner"])),
        policy("none", "DENY", operation(paths=["/away"]), app="app"),
    ]
    await proxy.push()
    await until(lambda: status(app, "/away"), "403")
    await until(lambda: status(app, "/in"), "200")
    assert {await status(app, "/x") for _ in range(20)} == {"200", "403"}


async def test_each_try_is_judged(proxy: Proxy, app: Box) -> None:
    """A retry that ends at another service meets that one's policies."""
    retries = {"attempts": 5, "retryOn": "connect-failure,refused-stream,reset-before-request"}
    weights = [
        {"destination": {"host": "neighbour", "port": {"number": 8000}}, "weight": 1},
        {"destination": {"host": "app", "port": {"number": 8001}}, "weight": 99},
    ]
    proxy.workloads[0] = proxy.workloads[0].model_copy(
        update={
            "ports": (
                *proxy.workloads[0].ports,
                proxy.workloads[0].ports[1].model_copy(update={"number": 8001}),
            )
        }
    )
    proxy.resources = [
        virtual_service({"route": weights, "retries": retries}),
        policy("none", "DENY", operation(paths=["*"])),
    ]
    await proxy.push()
    await until(lambda: status(app), "403")
    assert "403" in {await status(app) for _ in range(10)}


@pytest.mark.parametrize(
    "path",
    ["//admin", "/./admin", "/x/../admin", "/%61dmin", "/x/%2e%2e/admin", "/ADMIN/../admin", "/x/..//admin"],
)
async def test_confused_paths_are_seen_through(proxy: Proxy, app: Box, path: str) -> None:
    """With slashes merged and decoded, by the strictest of the mesh's settings."""
    proxy.settings = proxy.settings.model_copy(update={"path_normalization": "DECODE_AND_MERGE_SLASHES"})
    proxy.resources = [policy("admin", "DENY", operation(paths=["/admin"]))]
    await proxy.push()
    await until(lambda: status(app, "/admin"), "403")
    await until(lambda: status(app, path), "403")
    await until(lambda: status(app, path.replace("/admin", "%2fadmin")), "403")


async def test_what_is_encoded_stays_so_by_default(proxy: Proxy, app: Box) -> None:
    """As in Istio: dots are resolved; slashes that are doubled or encoded mean another path."""
    proxy.resources = [policy("admin", "DENY", operation(paths=["/admin"]))]
    await proxy.push()
    await until(lambda: status(app, "/x/../admin"), "403")
    assert await status(app, "/%61dmin") == "403"
    assert await status(app, "//admin") == "200"
    assert await status(app, "/%2fadmin") == "200"


@asynccontextmanager
async def recording(box: Box, port: int) -> AsyncIterator[list[str]]:
    """An HTTP server that keeps the heads of requests."""
    listener = box.socket("0.0.0.0")
    listener.bind(("0.0.0.0", port))
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heads.append(head.decode().lower())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, sock=listener)
    try:
        yield heads
    finally:
        server.close()


def with_port(proxy: Proxy, place: int, number: int) -> None:
    """One more HTTP port of a workload."""
    known = proxy.workloads[place]
    more = known.ports[1].model_copy(update={"number": number, "protocol": "http"})
    proxy.workloads[place] = known.model_copy(update={"ports": (*known.ports, more)})


async def test_nobody_says_for_himself_who_he_is(proxy: Proxy, app: Box, neighbour: Box) -> None:
    """Headers that carry identities elsewhere are worth nothing; the one of certificates is dropped."""
    with_port(proxy, 1, 8001)
    proxy.resources = [policy("app", "ALLOW", source(principals=["*/sa/app"]))]
    await proxy.push()
    await until(lambda: status(neighbour), "403")
    forged = (
        "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/test/sa/app",
        "x-envoy-peer-metadata-id: app",
        "meshlite.source.principal: spiffe://cluster.local/ns/test/sa/app",
        "x-envoy-original-dst-host: 10.77.0.3:8000",
    )
    assert await status(neighbour, "/", *forged) == "403"
    async with recording(neighbour, 8001) as heads:
        for caller, code in ((neighbour, 403), (app, 200)):
            answer = await ask(caller, VIRTUAL["neighbour"], 8001, "neighbour", "/", *forged)
            assert answer[0] == code
    assert len(heads) == 1
    assert "x-forwarded-client-cert" not in heads[0]


@pytest.mark.parametrize("paths", [["/"], ["/other"]], ids=["let-in", "kept-out"])
async def test_copies_of_requests_are_judged_too(
    proxy: Proxy, app: Box, neighbour: Box, paths: list[str]
) -> None:
    """They are the proxy's own and have no identity; what a policy keeps out does not arrive."""
    with_port(proxy, 1, 8001)
    copies = {
        "route": [{"destination": {"host": "app", "port": {"number": 8000}}}],
        "mirror": {"host": "neighbour", "port": {"number": 8001}},
    }
    by_name = {**source(principals=["*"]), **operation(paths=["/named"])}
    rules = (operation(paths=paths), by_name, operation(paths=["/in-effect"]))
    proxy.resources = [virtual_service(copies), policy("some", "ALLOW", *rules)]
    await proxy.push()
    async with recording(neighbour, 8001) as heads:
        await until(lambda: _code(app, neighbour.v4, "/none"), "403")
        await until(lambda: _code(app, neighbour.v4, "/in-effect"), "200")
        await until(lambda: _body(app, "/"), "200 app")
        heads.clear()
        for _ in range(5):
            assert await status(app) == "200"
            assert await status(app, "/named") == "200"
        await until(lambda: _code(app, neighbour.v4, "/in-effect"), "200")
        found = [head.split()[1] for head in heads]
    assert found.count("/") == (5 if paths == ["/"] else 0)
    assert found.count("/named") == 0


async def _code(box: Box, address: str, path: str) -> str:
    """The status; nothing where nobody answers, as before the port is known."""
    try:
        return str((await ask(box, address, 8001, address, path))[0])
    except ConnectionError:
        return ""
