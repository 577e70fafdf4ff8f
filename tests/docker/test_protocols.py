"""Every protocol that applications speak passes the mesh unharmed, each with a real client and server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.docker.compose import ComposeProject
from tests.docker.conftest import compose_file
from tests.docker.mesh import Mesh, meshed

BANNER = """
import socketserver, time
class Banner(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"220 welcome\\r\\n")
        while line := self.request.recv(1000):
            self.request.sendall(b"echo " + line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
Server(("", %d), Banner).serve_forever()
"""
ASK_BANNER = """
import socket, sys, time
began = time.monotonic()
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as s:
    print(s.recv(100).decode().strip(), round(time.monotonic() - began, 3))
    s.sendall(b"hello")
    print(s.recv(100).decode())
"""
WEBSOCKETS = """
import asyncio, websockets
async def echo(connection):
    async for message in connection:
        await connection.send(message.upper())
async def main():
    async with websockets.serve(echo, "", 8000):
        await asyncio.Future()
asyncio.run(main())
"""
ASK_WEBSOCKET = """
import asyncio, websockets
async def main():
    async with websockets.connect("ws://chat:8000/room") as connection:
        for word in ("one", "two"):
            await connection.send(word)
            print(await connection.recv())
asyncio.run(main())
"""
GRPC = """
import os, grpc
from concurrent import futures
class Greeter(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/demo/Unary":
            return grpc.unary_unary_rpc_method_handler(lambda request, _: os.uname().nodename.encode())
        if details.method == "/demo/Stream":
            return grpc.unary_stream_rpc_method_handler(lambda request, _: iter([b"1", b"2", b"3"]))
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers([Greeter()])
server.add_insecure_port("0.0.0.0:50051")
server.start()
server.wait_for_termination()
"""
ASK_GRPC = """
import collections, grpc
with grpc.insecure_channel("greeter:50051") as channel:
    unary = channel.unary_unary("/demo/Unary")
    print(sorted(collections.Counter(unary(b"") for _ in range(40)).values()))
    print(b"".join(channel.unary_stream("/demo/Stream")(b"")).decode())
    try:
        channel.unary_unary("/demo/Missing")(b"")
    except grpc.RpcError as error:
        print(error.code().name)
"""
NGINX = """
daemon off; pid /tmp/nginx.pid; error_log stderr;
events {}
http {
  access_log off;
  server { listen 8001; location / { return 200 "$$server_protocol"; } }
  server { listen 8002 http2; location / { return 200 "$$server_protocol"; } }
}
"""
SERVICES = {
    "client": {"command": ["sleep", "3600"]},
    "web": {"command": ["python3", "-m", "http.server", "8000"], "expose": ["8000"]},
    "undeclared": {"command": ["python3", "-m", "http.server", "8123"]},
    "both": {
        "command": ["sh", "-c", f"echo '{NGINX}' > /tmp/n.conf; exec nginx -c /tmp/n.conf"],
        "expose": ["8001", "8002"],
    },
    "loopless": {"command": ["python3", "-m", "http.server", "8000", "--bind", "::"], "expose": ["8000"]},
    "mail": {"command": ["python3", "-c", BANNER % 25], "expose": ["25"]},
    "odd": {"command": ["python3", "-c", BANNER % 4567], "labels": {"meshlite.ports": "tcp:4567"}},
    "guessed": {"command": ["python3", "-c", BANNER % 4568], "expose": ["4568"]},
    "cache": {"command": ["redis-server", "--protected-mode", "no"], "expose": ["6379"]},
    "chat": {"command": ["python3", "-c", WEBSOCKETS], "expose": ["8000"]},
    "greeter": {
        "command": ["python3", "-c", GRPC],
        "labels": {"meshlite.ports": "grpc:50051"},
        "deploy": {"replicas": 2},
    },
}


@pytest.fixture(scope="module")
def mesh(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("protocols")
    file = compose_file({"services": SERVICES}, image, folder / "project")
    project = ComposeProject("protocols", file)
    with meshed(Mesh(project, folder / "state")) as mesh:
        mesh.eventually(lambda: project.curl("client", "http://web:8000/")[0] == 200, "the mesh works")
        yield mesh


def python(mesh: Mesh, script: str, *arguments: str) -> list[str]:
    return mesh.project.exec("client", "python3", "-c", script, *arguments).splitlines()


@pytest.mark.parametrize(
    "name", ["web", "web.{project}", "web.{project}.svc.cluster.local", "web.{project}.mesh"]
)
def test_http_by_every_name_of_a_service(mesh: Mesh, name: str) -> None:
    host = name.format(project=mesh.project.name)
    status, body = mesh.project.curl("client", f"http://{host}:8000/", "-D", "-")
    assert status == 200
    assert "x-envoy" in body.lower() or "server:" in body.lower()


def test_http_by_a_replica_address(mesh: Mesh) -> None:
    address = mesh.project.exec("web", "hostname", "-i").split()[0]
    assert mesh.project.curl("client", f"http://{address}:8000/")[0] == 200


def test_http_on_a_port_nobody_declared(mesh: Mesh) -> None:
    mesh.eventually(
        lambda: mesh.project.curl("client", "http://undeclared:8123/")[0] == 200,
        "the listening port is found",
    )


def test_http_of_an_application_that_listens_on_ipv6(mesh: Mesh) -> None:
    assert mesh.project.curl("client", "http://loopless:8000/")[0] == 200


def test_http_1_0(mesh: Mesh) -> None:
    assert mesh.project.curl("client", "http://web:8000/", "--http1.0")[0] == 200


def test_http_1_0_without_a_host_goes_where_it_was_sent_to(mesh: Mesh) -> None:
    ask = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 20 web 8000 | head -n 1"
    assert mesh.project.exec("client", "sh", "-c", ask).split()[1] == "200"


@pytest.mark.parametrize(
    ("option", "port", "spoken"),
    [("--http1.1", 8001, "HTTP/1.1"), ("--http2-prior-knowledge", 8002, "HTTP/2.0")],
)
def test_the_server_hears_the_version_of_http_that_the_client_speaks(
    mesh: Mesh, option: str, port: int, spoken: str
) -> None:
    assert mesh.project.curl("client", f"http://both:{port}/", option) == (200, spoken)


def test_websocket(mesh: Mesh) -> None:
    assert python(mesh, ASK_WEBSOCKET) == ["ONE", "TWO"]


def test_grpc_unary_streaming_errors_and_balancing_per_request(mesh: Mesh) -> None:
    shares, stream, missing = python(mesh, ASK_GRPC)
    assert stream == "123"
    assert missing == "UNIMPLEMENTED"
    fewest, most = json.loads(shares)
    assert fewest + most == 40
    assert fewest >= 5, "one gRPC connection must be spread over both replicas"


def test_redis(mesh: Mesh) -> None:
    answer = mesh.project.exec("client", "redis-cli", "-h", "cache", "set", "name", "value")
    assert answer == "OK"
    assert mesh.project.exec("client", "redis-cli", "-h", "cache", "get", "name") == "value"


@pytest.mark.parametrize(("host", "port"), [("mail", 25), ("odd", 4567)])
def test_a_server_that_speaks_first_is_not_kept_waiting_on_a_known_port(
    mesh: Mesh, host: str, port: int
) -> None:
    quickest = 1.0
    for _ in range(20):  # a busy machine may be slow, but not every time
        banner, echo = python(mesh, ASK_BANNER, host, str(port))
        assert banner.startswith("220 welcome")
        assert echo == "echo hello"
        quickest = min(quickest, float(banner.split()[-1]))
        if quickest < 0.09:
            break
    assert quickest < 0.09, "the detection of protocols must not wait on a known port"


def test_a_server_that_speaks_first_on_an_unknown_port_works_after_detection(mesh: Mesh) -> None:
    banner, echo = python(mesh, ASK_BANNER, "guessed", "4568")
    assert banner.startswith("220 welcome")
    assert echo == "echo hello"


def test_udp_passes_untouched(mesh: Mesh) -> None:
    server = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 9999))
data, peer = s.recvfrom(100)
s.sendto(data + b" from " + peer[0].encode(), peer)
"""
    mesh.project.compose("exec", "-d", "web", "python3", "-c", server)
    script = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.5)
for _ in range(60):
    s.sendto(b"hello", (sys.argv[1], 9999))
    try:
        print(s.recv(100).decode())
        break
    except OSError:
        time.sleep(0.2)
"""
    address = mesh.project.exec("web", "hostname", "-i").split()[0]
    own = mesh.project.exec("client", "hostname", "-i").split()[0]
    assert python(mesh, script, address) == [f"hello from {own}"]


def test_a_connection_that_the_peer_half_closes_still_gets_its_answer(mesh: Mesh) -> None:
    script = """
import socket
s = socket.create_connection(("odd", 4567), timeout=60)
s.recv(100)
s.sendall(b"last words")
s.shutdown(socket.SHUT_WR)
print(s.recv(100).decode())
"""
    assert python(mesh, script) == ["echo last words"]


def test_an_application_reaches_itself_by_loopback_and_by_its_own_address(mesh: Mesh) -> None:
    assert mesh.project.curl("web", "http://127.0.0.1:8000/")[0] == 200
    own = mesh.project.exec("web", "hostname", "-i").split()[0]
    assert mesh.project.curl("web", f"http://{own}:8000/")[0] == 200
    assert mesh.project.curl("web", "http://web:8000/")[0] == 200
