"""What names lead to beside the mesh's own routes: single replicas, UDP, ICMP, IPv6. As without the mesh."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.compose import ComposeProject
from tests.docker.conftest import MakeProject
from tests.docker.mesh import Mesh

HTTP = """
import http.server, os, socket
name = os.environ["NAME"].encode() + b"\\n"
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(name)))
        self.end_headers()
        self.wfile.write(name)
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", 9080), Handler).serve_forever()
"""


def web(version: str) -> dict[str, object]:
    """One of several Compose services that are one service of the mesh."""
    return {
        "command": ["python3", "-c", HTTP],
        "environment": {"NAME": f"web-{version}"},
        "labels": {"app": "web", "version": version},
        "expose": ["9080"],
        "networks": {"default": {"aliases": ["web", f"only-{version}"]}},
    }


ECHO = """
import socket
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.bind(("::", 5353))
while True:
    data, caller = server.recvfrom(100)
    server.sendto(b"udp " + data, caller)
"""
ASK = """
import socket, sys
host, family = sys.argv[1:]
family = {"4": socket.AF_INET, "6": socket.AF_INET6}[family]
address = socket.getaddrinfo(host, 5353, family, socket.SOCK_DGRAM)[0][4]
client = socket.socket(family, socket.SOCK_DGRAM)
client.settimeout(3)
client.connect(address)
client.send(b"hello")
print(client.recv(100).decode())
"""


@pytest.fixture
def shop(compose_project: MakeProject) -> ComposeProject:
    sleeper = {"command": ["sleep", "3600"]}
    echo = {"command": ["python3", "-c", ECHO], "expose": ["5353/udp"]}
    services = {"web-a": web("a"), "web-b": web("b"), "echo": echo, "client": sleeper}
    subnets = {"driver": "default", "config": [{"subnet": "fd00:6d6c:77::/64"}]}
    return compose_project(
        {"services": services, "networks": {"default": {"enable_ipv6": True, "ipam": subnets}}}
    )


@pytest.fixture
def mesh(shop: ComposeProject, tmp_path: Path) -> Iterator[Mesh]:
    mesh = Mesh(shop, tmp_path / "state")
    try:
        mesh.up()
        yield mesh
    finally:
        mesh.down()


def asked(mesh: Mesh, host: str, times: int = 12) -> Counter[str]:
    """Who answered."""
    script = f"for _ in $(seq {times}); do curl -sS -m 5 http://{host}:9080/; done"
    return Counter(mesh.project.exec("client", "sh", "-c", script).split())


def test_a_name_that_one_replica_carries_means_that_one(mesh: Mesh) -> None:
    mesh.eventually(lambda: asked(mesh, "web").keys() == {"web-a", "web-b"}, "both behind the service's name")
    mesh.eventually(lambda: asked(mesh, "web-a") == {"web-a": 12}, "names of single replicas are known")
    container = mesh.project.container("web-a")
    for name in ("web-a", "only-a", f"{mesh.project.name}-web-a-1", container[:12]):
        assert asked(mesh, name) == {"web-a": 12}, name
    assert asked(mesh, "only-b") == {"web-b": 12}


def test_udp_and_ipv6_pass_by_name_as_without_the_mesh(mesh: Mesh) -> None:
    def asked_udp(family: str) -> str:
        return mesh.project.exec("client", "python3", "-c", ASK, "echo", family)

    for family in ("4", "6"):
        mesh.eventually(lambda: asked_udp(family) == "udp hello", f"UDP over IPv{family}")  # noqa: B023
    mesh.eventually(lambda: mesh.project.curl("client", "http://web:9080/", "-6")[0] == 200, "IPv6 by name")
    status, answer = mesh.project.curl("client", "http://web-a:9080/", "-6")
    assert (status, answer.strip()) == (200, "web-a")
    rule = {"hosts": ["web"], "http": [{"directResponse": {"status": 204}}]}
    mesh.apply(
        json.dumps(
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "VirtualService",
                "metadata": {"name": "web"},
                "spec": rule,
            }
        )
    )
    assert mesh.project.curl("client", "http://web:9080/", "-6")[0] == 204, "by the mesh, not beside it"
    mesh.project.compose("up", "-d", "--force-recreate", "echo")
    mesh.eventually(lambda: asked_udp("4") == "udp hello", "UDP reaches the new replica")
