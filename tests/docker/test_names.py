"""What names lead to beside the mesh's own routes: single replicas, UDP, ICMP, IPv6. As without the mesh."""

from __future__ import annotations

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


@pytest.fixture
def shop(compose_project: MakeProject) -> ComposeProject:
    sleeper = {"command": ["sleep", "3600"]}
    return compose_project({"services": {"web-a": web("a"), "web-b": web("b"), "client": sleeper}})


@pytest.fixture
def mesh(shop: ComposeProject, tmp_path: Path) -> Iterator[Mesh]:
    mesh = Mesh(shop, tmp_path / "state")
    mesh.up()
    yield mesh
    mesh.down()


def asked(mesh: Mesh, host: str, times: int = 12) -> Counter[str]:
    """Who answered."""
    script = f"for _ in $(seq {times}); do curl -sS -m 5 http://{host}:9080/; done"
    return Counter(mesh.project.exec("client", "sh", "-c", script).split())


def test_a_name_that_one_replica_carries_means_that_one(mesh: Mesh) -> None:
    mesh.eventually(lambda: asked(mesh, "web").keys() == {"web-a", "web-b"}, "both behind the service's name")
    container = mesh.project.container("web-a")
    for name in ("web-a", "only-a", f"{mesh.project.name}-web-a-1", container[:12]):
        assert asked(mesh, name) == {"web-a": 12}, name
    assert asked(mesh, "only-b") == {"web-b": 12}
