"""Declared hosts and hidden services, as containers find them beside an untouched Compose file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docker.compose import ComposeProject
from tests.docker.conftest import compose_file
from tests.docker.mesh import Mesh

WEB = ["python3", "-m", "http.server", "8000"]
SERVICES = {
    "client": {"command": ["sleep", "3600"]},
    "outside": {"command": WEB, "labels": {"meshlite.enable": "false"}},
    "hidden": {
        "command": WEB,
        "expose": ["8000"],
        "labels": {"meshlite.namespace": "other", "meshlite.export-to": "."},
    },
    "shown": {"command": WEB, "expose": ["8000"], "labels": {"meshlite.namespace": "other"}},
}
ENTRY = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: api}}
spec:
  hosts: [api.example.com]
  http:
  - match: [{{uri: {{prefix: /teapot}}}}]
    directResponse: {{status: 418}}
  - route: [{{destination: {{host: api.example.com}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api}}
spec:
  hosts: [api.example.com]
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8000}}]
  resolution: STATIC
  endpoints: [{{address: {address}}}]
"""


@pytest.fixture(scope="module")
def mesh(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("external")
    file = compose_file({"services": SERVICES}, image, folder / "project")
    project = ComposeProject("external", file)
    mesh = Mesh(project, folder / "state")
    try:
        project.up()
        mesh.up()
        mesh.eventually(lambda: project.curl("client", "http://shown.other:8000/")[0] == 200, "it works")
        yield mesh
    finally:
        mesh.down()
        project.down()


def test_a_declared_host_is_there_while_it_is_declared(mesh: Mesh) -> None:
    project = mesh.project
    address = project.exec("outside", "hostname", "-i").split()[0]
    mesh.apply(ENTRY.format(address=address))
    mesh.eventually(lambda: project.curl("client", "http://api.example.com/")[0] == 200, "it is found")
    assert project.curl("client", "http://api.example.com/teapot")[0] == 418
    assert "api.example.com" in project.exec("client", "cat", "/etc/hosts")
    mesh.delete("virtualservice", "api")
    mesh.delete("serviceentry", "api")
    mesh.eventually(
        lambda: "api.example.com" not in project.exec("client", "cat", "/etc/hosts"), "its name is gone"
    )
    assert mesh.status()["problems"] == []


def test_a_service_that_is_not_exported_is_not_found_elsewhere(mesh: Mesh) -> None:
    hosts = mesh.project.exec("client", "cat", "/etc/hosts")
    assert "shown.other" in hosts
    assert "hidden.other" not in hosts
    assert mesh.project.curl("shown", "http://hidden:8000/")[0] == 200
