"""The API as its callers see it, over real TLS and the real local socket."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import jsonschema
import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshlite.model.wire import ApplyRequest, Certificate, Document, Error
from meshlite.server import ca
from meshlite.server.routes import ROUTES
from tests.server.conftest import Running, make_csr, report, workload


def rule(name: str = "reviews", host: str = "reviews", **spec: object) -> Document:
    return Document.model_validate(
        {
            "location": "rules.yaml:1",
            "resource": {
                "api_version": "networking.istio.io/v1",
                "kind": "DestinationRule",
                "name": name,
                "namespace": "shop",
                "spec": {"host": host} | spec,
            },
        }
    )


def apply(*documents: Document, **more: object) -> dict[str, Any]:
    return json.loads(ApplyRequest(documents=documents).model_dump_json()) | more


async def fill(server: Running) -> None:
    """A node with a workload."""
    await server.admin.put("/v1/nodes/web-1/projects", json={"projects": ["shop"]})
    body = report(workload("reviews", labels={"version": "v1"})).model_dump(mode="json")
    answer = await server.admin.put("/v1/nodes/web-1/workloads", json=body)
    assert answer.status == 200, await answer.text()


# --- the document and what is really answered ---


class Checked:
    """A session whose every answer is held against the served OpenAPI document."""

    def __init__(self, session: aiohttp.ClientSession, openapi: dict[str, Any]) -> None:
        self._session = session
        self._openapi = openapi
        self.seen: set[tuple[str, str]] = set()

    async def __call__(self, method: str, url: str, route: str, **more: Any) -> Any:
        async with self._session.request(method, url, **more) as response:
            described = self._openapi["paths"][route][method.lower()]["responses"]
            self.seen.add((method, route))
            answer = described.get(str(response.status), described["default"])
            text = await response.text()
            if "content" not in answer:
                assert text == ""
                return None
            schema = answer["content"][response.content_type]["schema"]
            body = json.loads(text) if response.content_type == "application/json" else text
            jsonschema.validate(body, schema | {"components": self._openapi["components"]})
            return body


async def test_every_answer_of_a_session_is_as_the_openapi_document_says(server: Running) -> None:
    openapi = await (await server.admin.get("/v1/openapi.json")).json()
    admin = Checked(server.admin, openapi)
    resource, path = "/v1/resources/{kind}/{namespace}/{name}", "/v1/resources/DestinationRule/shop/reviews"
    await admin("GET", "/v1/health", "/v1/health")
    await admin("GET", "/v1/ca", "/v1/ca")
    await admin("GET", "/metrics", "/metrics")
    await admin("GET", "/v1/authorities", "/v1/authorities")
    rotation, bring = "/v1/authorities/rotation", "/v1/authorities/import"
    await admin("POST", rotation, rotation, json={"step": "announce"})
    await admin("POST", bring, bring, json={"certificate": "", "key": ""})
    await admin("PUT", "/v1/nodes/web-1/projects", "/v1/nodes/{node}/projects", json={"projects": ["shop"]})
    token = (await admin("POST", "/v1/tokens", "/v1/tokens", json={"node": "web-1"}))["token"]
    listed = await admin("GET", "/v1/tokens", "/v1/tokens")
    spare = (await admin("POST", "/v1/tokens", "/v1/tokens", json={}))["id"]
    assert spare not in str(listed)
    await admin("DELETE", f"/v1/tokens/{spare}", "/v1/tokens/{token}")
    await admin("POST", "/v1/access", "/v1/access", json={"name": "ann", "role": "viewer"})
    await admin("GET", "/v1/access", "/v1/access")
    await admin("DELETE", "/v1/access/ann", "/v1/access/{name}")
    key = ca.new_key()
    join = {"node": "web-1", "token": token, "csr": make_csr(key)}
    await admin("POST", "/v1/nodes/join", "/v1/nodes/join", json=join)
    async with server.node("web-1") as session:
        node = Checked(session, openapi)
        body = report(workload("reviews")).model_dump(mode="json")
        await node("PUT", "/v1/nodes/web-1/workloads", "/v1/nodes/{node}/workloads", json=body)
        await node("PUT", "/v1/nodes/web-1/status", "/v1/nodes/{node}/status", json={"proxy": {"pid": 1}})
        sign = {"identity": "spiffe://cluster.local/ns/shop/sa/reviews", "csr": make_csr()}
        await node("POST", "/v1/certificates", "/v1/certificates", json=sign)
        renew = "/v1/nodes/{node}/certificate"
        await node("POST", renew.format(node="web-1"), renew, json={"csr": make_csr()})
        await node("GET", "/v1/certificates", "/v1/certificates")
    await admin("POST", "/v1/resources", "/v1/resources", json=apply(rule()))
    rejected = await admin("POST", "/v1/resources", "/v1/resources", json=apply(rule(host="nobody")))
    assert rejected["rejected"]
    await admin("GET", "/v1/resources?kind=DestinationRule", "/v1/resources")
    text = {
        "text": "kind: VirtualServise\napiVersion: networking.istio.io/v1\nmetadata: {name: x}\n",
        "name": "x.yaml",
    }
    rejected = await admin("POST", "/v1/resources", "/v1/resources", json={"texts": [text]})
    assert rejected["rejected"][0]["where"] == "x.yaml:1"
    read = await admin("POST", "/v1/documents", "/v1/documents", json={"texts": [text]})
    assert read["rejected"] == rejected["rejected"]
    await admin("GET", "/v1/kinds", "/v1/kinds")
    await admin("GET", path, resource)
    await admin("GET", path.replace("reviews", "other"), resource)
    await admin("DELETE", path, resource)
    await admin("GET", path + "/history", resource + "/history")
    for url in ("nodes", "workloads", "services", "snapshot", "events", "certificates", "analysis", "audit"):
        await admin("GET", f"/v1/{url}", f"/v1/{url}")
    await admin("POST", "/v1/analysis", "/v1/analysis", json={"documents": apply(rule())["documents"]})
    await admin("DELETE", "/v1/nodes/web-1", "/v1/nodes/{node}")
    async with server.admin.get("/v1/snapshots") as stream:
        schema = openapi["paths"]["/v1/snapshots"]["get"]["responses"]["200"]["content"][stream.content_type]
        line = json.loads(await stream.content.readline())
        reference = schema["schema"]["$ref"].rsplit("/", 1)[1]
        known = openapi["components"]["schemas"][reference]["properties"]
        assert set(line) <= set(known), "a line leaves out what is empty"
    seen = admin.seen | node.seen | {("GET", "/v1/snapshots")}
    assert seen == {(route.method, route.path) for route in ROUTES}, "every route is in this session"


# --- who may do what ---


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_stranger_gets_nowhere_but_through_the_public_doors(server: Running, route: Any) -> None:
    url = server.url + route.path.replace("{", "").replace("}", "")
    async with (
        aiohttp.ClientSession() as stranger,
        stranger.request(route.method, url, ssl=False) as response,
    ):
        body = Error.model_validate_json(await response.text()) if response.status != 200 else None
    public = ("/v1/health", "/v1/ca", "/v1/nodes/join")
    if route.path in public:
        assert response.status in (200, 400)
    else:
        assert response.status == 401
        assert body is not None
        assert "who are you?" in body.error


async def test_a_node_acts_for_itself_only(server: Running) -> None:
    await server.admin.put("/v1/nodes/web-2/projects", json={"projects": []})
    async with server.node("web-1") as node:
        for method, path in [
            ("PUT", "workloads"),
            ("PUT", "status"),
            ("PUT", "projects"),
            ("POST", "certificate"),
        ]:
            answer = await node.request(method, f"/v1/nodes/web-2/{path}", json={})
            assert answer.status == 403, path
            assert "only act for itself" in (await answer.json())["error"]
        assert (await node.delete("/v1/nodes/web-2")).status == 403
        assert (await node.post("/v1/tokens", json={})).status == 403
        assert (await node.post("/v1/resources", json=apply(rule()))).status == 403
        assert (await node.get("/v1/nodes")).status == 403
        assert (await node.put("/v1/nodes/web-1/workloads", json={"workloads": []})).status == 200
        assert (await node.get("/v1/snapshot")).status == 200


async def test_a_node_signs_only_what_it_reports(server: Running) -> None:
    async with server.node("web-1") as node:

        async def sign(identity: str) -> int:
            return (
                await node.post("/v1/certificates", json={"identity": identity, "csr": make_csr()})
            ).status

        mine = "spiffe://cluster.local/ns/shop/sa/reviews"
        assert await sign(mine) == 403
        await node.put("/v1/nodes/web-1/workloads", json=report(workload("reviews")).model_dump(mode="json"))
        assert await sign(mine) == 200
        assert await sign("spiffe://cluster.local/ns/shop/sa/ratings") == 403
        assert await sign("spiffe://elsewhere/ns/shop/sa/reviews") == 403
        assert await sign("spiffe://cluster.local/node/web-1") == 400
        await node.put("/v1/nodes/web-1/workloads", json={"workloads": []})
        assert await sign(mine) == 403


async def test_a_token_for_namespaces_bounds_what_the_node_may_say(server: Running) -> None:
    async with server.node("web-1", namespaces=["shop"]) as node:
        both = report(workload("reviews"), workload("admin", namespace="bank"))
        answer = await node.put("/v1/nodes/web-1/workloads", json=both.model_dump(mode="json"))
        refused = (await answer.json())["refused"]
        assert [problem["resource"] for problem in refused] == ["admin"]
        assert "may not speak for namespace bank" in refused[0]["reason"]
        for service, namespace, status in [("any", "shop", 200), ("admin", "bank", 403)]:
            identity = f"spiffe://cluster.local/ns/{namespace}/sa/{service}"
            answer = await node.post("/v1/certificates", json={"identity": identity, "csr": make_csr()})
            assert answer.status == status


async def test_a_removed_node_is_out_at_once_and_stays_out(server: Running) -> None:
    async with server.node("web-1") as node:
        assert (await node.get("/v1/snapshot")).status == 200
        assert (await server.admin.delete("/v1/nodes/web-1")).status == 204
        answer = await node.get("/v1/snapshot")
        assert answer.status == 401
        assert "join again" in (await answer.json())["hint"]
        await server.admin.put("/v1/nodes/web-1/projects", json={"projects": []})
        assert (await node.get("/v1/snapshot")).status == 401


async def test_a_workloads_certificate_is_not_a_nodes(server: Running) -> None:
    async with server.node("web-1", namespaces=["shop"]) as node:
        key = ca.new_key()
        sign = {"identity": "spiffe://cluster.local/ns/shop/sa/reviews", "csr": make_csr(key)}
        leaf = await (await node.post("/v1/certificates", json=sign)).text()
    async with server.session(Certificate.model_validate_json(leaf), key) as session:
        answer = await session.get("/v1/snapshot")
        assert answer.status == 401
        assert "not that of a node" in (await answer.json())["error"]


async def test_a_certificate_of_another_mesh_is_refused(server: Running, tmp_path: Path) -> None:
    other = ca.create("cluster.local", 3600.0, 1_700_000_000.0)
    key = ca.new_key()
    leaf = other.sign(make_csr(key), "spiffe://cluster.local/node/web-1", time.time())
    (tmp_path / "client.pem").write_bytes(ca.key_pem(key) + leaf.chain.encode())
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(tmp_path / "client.pem")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{server.url}/v1/snapshot", ssl=context)


# --- joining ---


async def test_a_join_gives_a_certificate_for_the_node_whatever_the_request_says(server: Running) -> None:
    key = ca.new_key()
    certificate = await server.join("web-1", key=key, address="192.0.2.7")
    leaf = x509.load_pem_x509_certificate(certificate.chain.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster.local/node/web-1"]
    assert leaf.public_key() == key.public_key()
    nodes = (await (await server.admin.get("/v1/nodes")).json())["nodes"]
    assert [(n["record"]["name"], n["record"]["address"], n["joined"]) for n in nodes] == [
        ("web-1", "192.0.2.7", True)
    ]
    issued = (await (await server.admin.get("/v1/certificates")).json())["certificates"]
    assert [(one["identity"], one["node"]) for one in issued] == [(certificate.identity, "web-1")]
    assert int(issued[0]["serial"], 16) == leaf.serial_number


async def test_a_token_is_spent_after_its_uses(server: Running) -> None:
    token = await server.token(uses=2)
    for node, status in [("a", 200), ("b", 200), ("c", 401)]:
        body = {"node": node, "token": token, "csr": make_csr()}
        answer = await server.admin.post("/v1/nodes/join", json=body)
        assert answer.status == status, await answer.text()


async def test_a_token_is_not_spent_by_a_request_that_fails(server: Running) -> None:
    token = await server.token()
    bad = {"node": "a", "token": token, "csr": "garbage"}
    assert (await server.admin.post("/v1/nodes/join", json=bad)).status == 400
    good = bad | {"csr": make_csr()}
    assert (await server.admin.post("/v1/nodes/join", json=good)).status == 200


async def test_tokens_that_do_not_fit_are_refused(server: Running) -> None:
    async def join(node: str, token: str) -> int:
        body = {"node": node, "token": token, "csr": make_csr()}
        return (await server.admin.post("/v1/nodes/join", json=body)).status

    assert await join("a", "made-up.0000") == 401
    assert await join("a", await server.token(node="b")) == 403
    expired = await server.token(ttl_seconds=0.001)
    await asyncio.sleep(0.01)
    assert await join("a", expired) == 401
    assert await join("../a", await server.token()) == 400
    assert await join("a", await server.token()) == 200
    assert await join("a", await server.token()) == 409, "somebody else's name"
    assert await join("a", await server.token(node="a")) == 200, "a token for this very node"


async def test_racing_joins_spend_a_token_once(server: Running) -> None:
    token = await server.token()

    async def join(node: str) -> int:
        body = {"node": node, "token": token, "csr": make_csr()}
        return (await server.admin.post("/v1/nodes/join", json=body)).status

    assert sorted(await asyncio.gather(*(join(f"n{i}") for i in range(5)))) == [200, 401, 401, 401, 401]


async def test_tokens_are_kept_as_hashes_only(server: Running) -> None:
    token = await server.token()
    secret = token.split(".", 1)[0].encode()
    for file in server.settings.paths.database.parent.iterdir():
        assert secret not in file.read_bytes()


async def test_the_server_proves_itself_by_name_and_by_tls_of_today(server: Running) -> None:
    context = await server.trust(await server.token())
    async with aiohttp.ClientSession() as session:
        for name in ("meshlite-server", "localhost", "127.0.0.1"):
            answer = await session.get(f"{server.url}/v1/health", ssl=context, server_hostname=name)
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{server.url}/v1/health", ssl=context, server_hostname="reviews")
    old = ssl.create_default_context()
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{server.url}/v1/health", ssl=old)


# --- resources ---


async def test_apply_is_all_or_nothing_and_says_where_what_and_why(server: Running) -> None:
    await fill(server)
    answer = await server.admin.post(
        "/v1/resources", json=apply(rule(), rule("other", host="nobody"), rule("third", colour="red"))
    )
    assert answer.status == 422
    body = await answer.json()
    assert body["applied"] == []
    assert {(one["resource"], one["where"].split(":")[0]) for one in body["rejected"]} >= {
        ("DestinationRule/shop/third", "rules.yaml")
    }
    assert all(one["reason"] and one["field"] for one in body["rejected"])
    assert (await (await server.admin.get("/v1/resources")).json())["resources"] == []


async def test_dangling_hosts_are_refused_unless_allowed(server: Running) -> None:
    await fill(server)
    dangling = rule(host="nobody")
    answer = await server.admin.post("/v1/resources", json=apply(dangling))
    assert answer.status == 422
    assert "nobody" in (await answer.json())["rejected"][0]["reason"]
    answer = await server.admin.post("/v1/resources", json=apply(dangling, allow_missing_hosts=True))
    assert answer.status == 200


async def test_a_batch_may_use_the_subsets_it_defines(server: Running) -> None:
    await fill(server)
    route = Document.model_validate(
        {
            "resource": {
                "api_version": "networking.istio.io/v1",
                "kind": "VirtualService",
                "name": "reviews",
                "namespace": "shop",
                "spec": {
                    "hosts": ["reviews"],
                    "http": [{"route": [{"destination": {"host": "reviews", "subset": "v1"}}]}],
                },
            }
        }
    )
    assert (await server.admin.post("/v1/resources", json=apply(route))).status == 422
    subsets = rule(subsets=[{"name": "v1", "labels": {"version": "v1"}}])
    answer = await server.admin.post("/v1/resources", json=apply(route, subsets))
    assert answer.status == 200, await answer.text()
    view = (await (await server.admin.get("/v1/services?service=reviews")).json())["services"][0]
    assert view["subsets"] == [{"name": "v1", "labels": {"version": "v1"}, "ready": 1, "total": 1}]
    assert set(view["resources"]) == {"VirtualService/shop/reviews", "DestinationRule/shop/reviews"}


async def test_generations_guard_against_lost_updates(server: Running) -> None:
    await fill(server)
    guarded = {"If-Match": "*"}

    def based_on(generation: int, **spec: object) -> dict[str, Any]:
        document = rule(**spec)
        resource = document.resource.model_copy(update={"generation": generation})
        return apply(document.model_copy(update={"resource": resource}))

    async def send(body: dict[str, Any]) -> int:
        return (await server.admin.post("/v1/resources", json=body, headers=guarded)).status

    assert await send(based_on(1)) == 409, "it does not exist yet"
    assert await send(based_on(0)) == 200
    one, two = {"trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}, {"exportTo": ["*"]}
    statuses = await asyncio.gather(send(based_on(1, **one)), send(based_on(1, **two)))
    assert sorted(statuses) == [200, 409]
    path = "/v1/resources/DestinationRule/shop/reviews"
    assert (await server.admin.get(path)).headers["ETag"] == '"2"'
    assert (await server.admin.delete(path, headers={"If-Match": '"1"'})).status == 409
    assert (await server.admin.delete(path, headers={"If-Match": '"2"'})).status == 204
    answer = await server.admin.post("/v1/resources", json=based_on(0), headers={"If-Match": '"2"'})
    assert answer.status == 400


# --- the stream ---


async def line(stream: aiohttp.ClientResponse, timeout: float = 60.0) -> dict[str, Any]:
    async with asyncio.timeout(timeout):
        text = await stream.content.readline()
        return dict(json.loads(text))


async def test_the_stream_gives_all_then_changes_then_heartbeats(server: Running) -> None:
    await fill(server)
    async with server.admin.get("/v1/snapshots") as stream:
        first = await line(stream)
        assert first["full"]
        assert [one["name"] for one in first["workloads"]] == ["reviews"]
        await server.admin.post("/v1/resources", json=apply(rule()))
        change = await line(stream)
        assert [one["kind"] for one in change["resources"]] == ["DestinationRule"]
        assert set(change) == {"version", "resources"}
        await server.admin.delete("/v1/resources/DestinationRule/shop/reviews")
        assert (await line(stream))["removed_resources"] == ["DestinationRule/shop/reviews"]
        assert await line(stream) == {"version": first["version"]}, "a heartbeat, back at the first state"


async def test_a_reader_with_the_current_version_gets_no_state(server: Running) -> None:
    await fill(server)
    version = (await (await server.admin.get("/v1/snapshot")).json())["version"]
    async with server.admin.get(f"/v1/snapshots?version={version}") as stream:
        assert await line(stream) == {"version": version}
    async with server.admin.get("/v1/snapshots?version=old") as stream:
        assert (await line(stream))["full"]


async def test_an_apply_reaches_a_node_over_tls_at_once(server: Running) -> None:
    await fill(server)
    async with server.node("web-2") as node, node.get("/v1/snapshots") as stream:
        await line(stream)
        start = asyncio.get_running_loop().time()
        await server.admin.post("/v1/resources", json=apply(rule()))
        await line(stream)
        assert asyncio.get_running_loop().time() - start < 0.5


# --- errors ---


async def test_errors_of_every_kind_are_json(server: Running) -> None:
    cases = [
        ("GET", "/", {}, 404),
        ("GET", "/v1/nothing", {}, 404),
        ("DELETE", "/v1/health", {}, 405),
        ("GET", "/v1/health?colour=red", {}, 400),
        ("POST", "/v1/tokens", {"data": b"{"}, 400),
        ("POST", "/v1/tokens", {"data": b"\xff\xfe"}, 400),
        ("POST", "/v1/tokens", {"json": {"ttl_seconds": -1, "colour": "red"}}, 400),
        ("POST", "/v1/tokens", {"data": b"[" * 60_000}, 400),
        ("POST", "/v1/tokens", {"data": b" " * 70_000}, 413),
        ("PUT", "/v1/nodes/nobody/workloads", {"json": {"workloads": []}}, 404),
        ("PUT", "/v1/nodes/a%2Fb/projects", {"json": {}}, 400),
        ("GET", "/v1/resources/Gateway/shop/nothing", {}, 404),
        ("GET", "/v1/events?limit=many", {}, 400),
    ]
    for method, url, more, status in cases:
        async with server.admin.request(method, url, **more) as response:
            text = await response.text()
            assert response.status == status, (method, url, text)
            assert response.content_type == "application/json"
            assert Error.model_validate_json(text).error
            assert "Traceback" not in text


async def test_each_fault_of_a_body_is_named(server: Running) -> None:
    async with server.admin.post("/v1/tokens", json={"ttl_seconds": -1, "colour": "red"}) as response:
        details = (await response.json())["details"]
    assert {detail["field"] for detail in details} == {"ttl_seconds", "colour"}


async def test_a_refused_body_is_not_repeated(server: Running) -> None:
    body = {"node": 1, "token": "very-secret", "csr": "x", "extra": "very-secret"}
    async with server.admin.post("/v1/nodes/join", json=body) as response:
        assert response.status == 400
        assert "very-secret" not in await response.text()


async def test_a_bug_is_a_500_without_traceback_and_the_log_has_it(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("meshlite.server.handlers.overview", broken)
    async with server.admin.get("/v1/services") as response:
        assert response.status == 500
        text = await response.text()
    assert "secret detail" not in text
    assert "ref=" in Error.model_validate_json(text).hint
    assert "secret detail" in caplog.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
garbage = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())


def near_miss(route: Any) -> st.SearchStrategy[bytes]:
    """Bodies with the right field names and anything in them."""
    fields = getattr(route.body, "model_fields", {}) if route.body else {}
    return st.fixed_dictionaries({}, optional=dict.fromkeys(fields, json_values)).map(
        lambda value: json.dumps(value).encode()
    )


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if r.path != "/v1/snapshots"], ids=lambda r: f"{r.method} {r.path}"
)
async def test_no_garbage_makes_the_server_fail(server: Running, route: Any) -> None:
    loop = asyncio.get_running_loop()

    async def send(path: str, body: bytes) -> tuple[int, str]:
        async with server.admin.request(route.method, path, data=body) as response:
            return response.status, await response.text()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text(max_size=12), garbage | near_miss(route), st.sampled_from(["", "?limit=-1", "?kind=%00"]))
    def fuzz(name: str, body: bytes, query: str) -> None:
        segment = quote(name, safe="") or "x"
        if segment in (".", ".."):
            segment = "dots"
        path = route.path
        for part in ("{node}", "{kind}", "{namespace}", "{name}", "{token}"):
            path = path.replace(part, segment)
        status, text = asyncio.run_coroutine_threadsafe(send(path + query, body), loop).result(20)
        assert status < 500, (path, body, text)
        if status >= 400 and status != 422:
            Error.model_validate_json(text)

    await asyncio.to_thread(fuzz)
