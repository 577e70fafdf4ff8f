"""Bookinfo through Istio's own gateway, from outside: on the host's port, to STRICT workloads, with TLS."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests import certificates
from tests.conformance import corpus
from tests.docker.compose import ComposeProject
from tests.docker.conftest import ROOT, MakeProject, prepare
from tests.docker.mesh import Mesh

pytestmark = corpus.needed

GATEWAY = corpus.ROOT / "1-samples/istio/samples/bookinfo/networking/bookinfo-gateway.yaml"

GATEWAY_API = corpus.ROOT / "1-samples/istio/samples/bookinfo/gateway-api/bookinfo-gateway.yaml"

STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict}
spec: {mtls: {mode: STRICT}}
"""

TLS = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: [bookinfo.example.com]
    tls: {mode: SIMPLE, credentialName: bookinfo}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: secure}
spec:
  hosts: [bookinfo.example.com]
  gateways: [secure]
  http:
  - route: [{destination: {host: productpage, port: {number: 9080}}}]
"""


@pytest.fixture
def mesh(compose_project: MakeProject, tmp_path: Path) -> Iterator[Mesh]:
    """Bookinfo in the mesh, with credentials in a folder of the test's own."""
    prepare("image", "demo")
    bookinfo: ComposeProject = compose_project(
        ROOT / "compose" / "bookinfo.yaml", environ={"BOOKINFO_LISTEN": "127.0.0.1:"}
    )
    settings = tmp_path / "meshlite.yaml"
    settings.write_text(f"paths: {{credentials: {tmp_path / 'credentials'}}}\n")
    mesh = Mesh(bookinfo, tmp_path / "state", {"MESHLITE_CONFIG": str(settings)})
    try:
        mesh.up()
        yield mesh
    finally:
        mesh.down()


def test_bookinfo_answers_through_istios_own_gateway(mesh: Mesh) -> None:
    with pytest.raises(OSError, match="refused"):
        get("http://127.0.0.1:8080/productpage")
    mesh.apply(GATEWAY.read_text())
    mesh.apply(STRICT)
    mesh.eventually(lambda: "The Comedy of Errors" in get("http://127.0.0.1:8080/productpage"), "a page")
    assert status("http://127.0.0.1:8080/no-route-for-this") == 404
    assert "Reviewer1" in get("http://127.0.0.1:8080/productpage")
    assert mesh.status()["problems"] == []


def test_bookinfo_answers_through_istios_sample_of_gateway_api(mesh: Mesh) -> None:
    """The port is changed, since 80 may be taken where tests run; all else is Istio's."""
    mesh.apply(GATEWAY_API.read_text().replace("port: 80\n", "port: 8080\n"))
    mesh.apply(STRICT)
    mesh.eventually(lambda: "The Comedy of Errors" in get("http://127.0.0.1:8080/productpage"), "a page")
    assert status("http://127.0.0.1:8080/no-route-for-this") == 404
    assert status("http://127.0.0.1:8080/api/v1/products/0") == 200
    assert status("http://127.0.0.1:8080/staticx") == 404, "prefixes are of whole path elements"
    [route] = json.loads(mesh("get", "httproutes", "-o", "json"))
    rows = route["status"]["parents"][0]["conditions"]
    assert [(row["type"], row["status"]) for row in rows] == [("Accepted", "True"), ("ResolvedRefs", "True")]
    [gateway] = json.loads(mesh("get", "gtw", "-o", "json"))
    assert gateway["status"]["listeners"][0]["attachedRoutes"] == 1
    assert mesh.status()["problems"] == []


def test_a_certificate_is_served_renewed_and_missed(mesh: Mesh, tmp_path: Path) -> None:
    authority = certificates.authority("test")
    home = tmp_path / "credentials" / "istio-system" / "bookinfo"
    mesh.apply(TLS)
    mesh.eventually(lambda: "does not exist" in str(mesh.status()["problems"]), "a problem")
    home.mkdir(parents=True)
    for serial in (101, 102):
        pair = authority.leaf("bookinfo.example.com", serial=serial)
        (home / "tls.key").write_text(pair.key)
        (home / "tls.crt").write_text(pair.certificate)
        mesh.eventually(lambda serial=serial: served() == serial, f"certificate {serial}")
    trusted = tmp_path / "ca.pem"
    trusted.write_text(authority.certificate)
    command = ["curl", "-sS", "--cacert", str(trusted), "--http2", "-w", "%{http_version}"]
    command += [
        "--resolve",
        "bookinfo.example.com:8443:127.0.0.1",
        "https://bookinfo.example.com:8443/health",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("2"), done.stderr
    assert mesh.status()["problems"] == []
    logs = "".join(file.read_text(errors="replace") for file in (mesh.state / "log").glob("*.log"))
    body = re.sub(r"-----[^-]*-----|\s", "", (home / "tls.key").read_text())
    assert body not in re.sub(r"\s", "", logs)


def served() -> int:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", 8443), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="bookinfo.example.com") as tls,
        ):
            found = tls.getpeercert(binary_form=True)
    except OSError:
        return 0
    return x509.load_der_x509_certificate(found).serial_number if found else 0


def get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.code)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
