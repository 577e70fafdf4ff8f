"""The client against a real peer on a unix socket: answers, refusals, and peers that are not there."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from meshlite.cli.client import Client
from meshlite.cli.failure import Failure, Unreachable


class Peer(BaseHTTPRequestHandler):
    """Answers by path; everything it was asked comes back under /echo."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        match self.path.partition("?")[0]:
            case "/echo":
                self.answer(200, json.dumps({"path": self.path, "method": self.command, "body": body}))
            case "/refused":
                self.answer(409, json.dumps({"error": "the name is taken", "hint": "choose another"}))
            case "/text":
                self.answer(200, "metric 1\n", "text/plain")
            case "/empty":
                self.answer(204, "")
            case "/slow":
                with suppress(OSError):
                    self.rfile.read(1)  # until the caller has gone
            case _:
                self.answer(500, "oops", "text/plain")

    do_POST = do_GET

    def answer(self, status: int, body: str, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def address_string(self) -> str:
        return "peer"

    def log_message(self, format: str, *args: object) -> None:
        """The tests say what went wrong."""


@pytest.fixture(scope="module")
def peer() -> Iterator[Client]:
    with TemporaryDirectory(prefix="ml-", dir="/tmp") as folder:
        path = Path(folder) / "peer.sock"
        with socketserver.ThreadingUnixStreamServer(str(path), Peer) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield Client(path, "the peer", "start it")
            server.shutdown()
            thread.join()


def test_values_go_and_come_back(peer: Client) -> None:
    got = peer.get("/echo", namespace="a b", kind="")
    assert got == {"path": "/echo?namespace=a+b", "method": "GET", "body": ""}
    sent = peer.call("POST", "/echo", {"x": 1}).body
    assert json.loads(sent["body"]) == {"x": 1}


def test_text_and_nothing_are_answers_too(peer: Client) -> None:
    assert peer.get("/text") == "metric 1\n"
    assert peer.call("POST", "/empty").status == 204


def test_a_refusal_is_told_in_the_peers_words(peer: Client) -> None:
    with pytest.raises(Failure) as raised:
        peer.call("POST", "/refused", {})
    assert raised.value.message == "the name is taken"
    assert raised.value.next_step == "choose another"
    assert "POST /refused (409)" in raised.value.where
    assert peer.call("POST", "/refused", {}, accept=(409,)).status == 409


def test_an_answer_without_words_is_told_by_its_status(peer: Client) -> None:
    with pytest.raises(Failure, match="the peer answered 500"):
        peer.get("/broken")


def test_a_peer_that_takes_too_long(peer: Client) -> None:
    with pytest.raises(Unreachable) as raised:
        peer.get("/slow", timeout=0.1)
    assert raised.value.why == "no answer in time"


def test_a_peer_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="is not running"):
        Client(tmp_path / "none.sock", "the peer", "").get("/")


def test_a_socket_nobody_listens_on(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="ml-", dir="/tmp") as folder:
        path = Path(folder) / "dead.sock"
        socketserver.UnixStreamServer(str(path), Peer).server_close()
        with pytest.raises(Unreachable) as raised:
            Client(path, "the peer", "start it").get("/")
    assert "nobody listens" in raised.value.why
    assert raised.value.next_step == "start it"
