"""Declared hosts and hidden services, as containers find them beside an untouched Compose file."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import certificates
from tests.docker.compose import ComposeProject
from tests.docker.conftest import compose_file
from tests.docker.mesh import Mesh, meshed

WEB = ["python3", "-m", "http.server", "8000", "-d", "/"]
EXPOSED = 18089
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

HOST = "api.localhost"
"""A name that the proxy's resolver takes for the host's own loopback."""

ORIGINATED = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: secure}}
spec:
  hosts: [api.localhost]
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: secure}}
spec: {{host: api.localhost, trafficPolicy: {{tls: {{mode: MUTUAL, credentialName: client}}}}}}
"""
ASK = """
import ssl, sys, urllib.request
try:
    trusted = ssl._create_unverified_context()
    print(urllib.request.urlopen(sys.argv[1], timeout=20, context=trusted).read().decode())
except OSError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def mesh(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("external")
    file = compose_file({"services": SERVICES}, image, folder / "project")
    project = ComposeProject("external", file)
    settings = folder / "meshlite.yaml"
    settings.write_text(f"paths: {{credentials: {folder / 'credentials'}}}\n")
    with meshed(Mesh(project, folder / "state", {"MESHLITE_CONFIG": str(settings)})) as mesh:
        mesh.eventually(lambda: project.curl("client", "http://shown.other:8000/")[0] == 200, "it works")
        yield mesh


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


class Secure:
    """A server of HTTPS on the host's loopback: it answers with the name in its client's certificate."""

    def __init__(self, folder: Path, authority: certificates.Authority) -> None:
        pair = authority.leaf(HOST)
        file = folder / "server.pem"
        file.write_text(pair.certificate + pair.key)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(file)
        tls.load_verify_locations(cadata=authority.certificate)
        tls.verify_mode = ssl.CERT_OPTIONAL
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]

    def __enter__(self) -> Secure:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    """HTTP/1.0, so every request has a connection of its own."""

    connection: ssl.SSLSocket

    def do_GET(self) -> None:
        found = self.connection.getpeercert() or {}
        self.send_response(200)
        self.end_headers()
        subject: object = found.get("subject", "nobody")
        self.wfile.write(f"called by {subject}".encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""


def asked(mesh: Mesh, url: str) -> str:
    return mesh.project.exec("client", "python3", "-c", ASK, url)


def test_an_outside_host_is_called_through_the_egress_gateway_while_it_is_asked_for(
    mesh: Mesh, tmp_path: Path
) -> None:
    """`meshlite egress HOST` and nothing else, from a container's own TLS to the host's."""
    with Secure(tmp_path, certificates.authority("outside")) as secure:
        url = f"https://{HOST}:{secure.port}/"
        mesh("egress", HOST, "--port", str(secure.port))
        mesh.eventually(lambda: asked(mesh, url) == "called by nobody", "it answers", seconds=60)
        assert f"ServiceEntry meshlite-system/{HOST.replace('.', '-')}-egress" in mesh("get", "services")
        gateway = f"cluster.outbound|{secure.port}||istio-egressgateway.meshlite-system.svc.cluster.local"
        assert counter(f"{gateway}.upstream_cx_total") > 0
        assert mesh.status()["problems"] == []
        mesh("egress", HOST, "--clear")
        mesh.eventually(lambda: HOST not in mesh.project.exec("client", "cat", "/etc/hosts"), "it is gone")


def test_a_service_is_called_from_outside_while_it_is_exposed(mesh: Mesh) -> None:
    """`meshlite expose SERVICE` and nothing else: by the host, and by a container that is not in the mesh."""
    project = mesh.project
    host = project.exec("outside", "sh", "-c", "ip route show default | cut -d' ' -f3")
    url = f"http://{host}:{EXPOSED}/"
    assert project.curl("outside", url)[0] == 0, "nobody listens there"
    mesh("expose", "shown", "-n", "other", "--port", str(EXPOSED), "--path", "/etc")
    mesh.eventually(lambda: project.curl("outside", f"{url}etc/os-release")[0] == 200, "it answers")
    assert project.curl("outside", url)[0] == 404, "another path"
    with urllib.request.urlopen(f"http://127.0.0.1:{EXPOSED}/etc/os-release", timeout=60) as answer:
        assert b"ID=" in answer.read()
    assert mesh.status()["problems"] == []
    mesh("expose", "shown", "-n", "other", "--clear")
    mesh.eventually(lambda: project.curl("outside", url)[0] == 0, "its port is closed")


def counter(name: str) -> int:
    """One of Envoy's own."""
    command = ["curl", "-sS", "--unix-socket", "/run/meshlite/proxy/admin.sock", "http://envoy/stats"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return int(dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)[name])


def test_the_proxys_own_tls_follows_its_files(mesh: Mesh, tmp_path: Path) -> None:
    """A running agent with a client's certificate that is missing, comes, changes and breaks."""
    authority = certificates.authority("outside")
    home = Path(mesh.environ["MESHLITE_CONFIG"]).parent / "credentials" / mesh.project.name / "client"
    url = f"http://{HOST}/"

    def give(name: str) -> None:
        pair = authority.leaf(name)
        home.mkdir(parents=True, exist_ok=True)
        files = {"ca.crt": authority.certificate, "tls.key": pair.key, "tls.crt": pair.certificate}
        for file, text in files.items():
            (home / file).write_text(text)

    def problems() -> str:
        return str(mesh.status()["problems"])

    with Secure(tmp_path, authority) as secure:
        mesh.apply(ORIGINATED.format(port=secure.port))
        mesh.eventually(lambda: "client/tls.crt does not exist" in problems(), "a problem", seconds=60)
        assert mesh.project.curl("client", "http://shown.other:8000/")[0] == 200
        for name in ("first.example.com", "second.example.com"):
            give(name)
            mesh.eventually(lambda name=name: name in asked(mesh, url), f"{name} is shown", seconds=60)
        mesh.eventually(lambda: problems() == "[]", "no problem", seconds=60)
        (home / "tls.crt").write_text("broken")
        mesh.eventually(lambda: "what it was before is served on" in problems(), "a problem", seconds=60)
        assert "second.example.com" in asked(mesh, url)
        mesh.delete("destinationrule", "secure")
        mesh.delete("serviceentry", "secure")
