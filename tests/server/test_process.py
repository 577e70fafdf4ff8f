"""The server as a process: started, killed, stopped, started twice, left alone for long."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from meshlite.config import Settings
from tests.server.conftest import report, running, settings_in, workload

START = """
import asyncio, sys
from meshlite.config import Settings
from meshlite.server.app import run
try:
    asyncio.run(run(Settings.model_validate_json(sys.argv[1])))
except (RuntimeError, OSError, ValueError) as error:
    sys.exit(str(error))
"""


@contextmanager
def process(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """A server of its own, ready to serve; killed in the end."""
    server = subprocess.Popen(
        [sys.executable, "-c", START, settings.model_dump_json()], stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    try:
        for line in server.stderr:
            if line.startswith("meshlite server ready"):
                break
        else:
            pytest.fail("the server did not start")
        yield server
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


def failed_start(settings: Settings) -> str:
    """What a server that cannot start says; without a traceback, with an exit code."""
    command = [sys.executable, "-c", START, settings.model_dump_json()]
    server = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert server.returncode == 1
    assert "Traceback" not in server.stderr
    return server.stderr.strip().splitlines()[-1]


class LocalConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def call(settings: Settings, method: str, path: str, body: object = None) -> Any:
    connection = LocalConnection(settings.paths.admin_socket)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        text = response.read()
        assert response.status < 300, text
        return json.loads(text) if text else None
    finally:
        connection.close()


def rules(*names: str, generation: str = "1") -> dict[str, Any]:
    return {
        "allow_missing_hosts": True,
        "documents": [
            {
                "resource": {
                    "api_version": "networking.istio.io/v1",
                    "kind": "DestinationRule",
                    "name": name,
                    "namespace": "shop",
                    "labels": {"writing": generation},
                    "spec": {"host": "reviews"},
                }
            }
            for name in names
        ],
    }


def test_killed_while_writing_it_keeps_what_it_acknowledged_and_nothing_by_halves(tmp_path: Path) -> None:
    """Batches of three; the kill comes while batches follow each other as fast as they can."""
    settings = settings_in(tmp_path)
    trio = ("a", "b", "c")
    acknowledged = 0
    for _ in range(3):
        with process(settings) as server:
            stored = call(settings, "GET", "/v1/resources")["resources"]
            assert {one["name"] for one in stored} == (set(trio) if acknowledged else set())
            writings = {int(one["labels"]["writing"]) for one in stored}
            assert len(writings) <= 1, "one batch, one state"
            assert not acknowledged or writings.pop() in (acknowledged, acknowledged + 1)
            acknowledged = writings.pop() if writings else acknowledged
            before = acknowledged
            with contextlib.suppress(OSError, http.client.HTTPException):
                while True:
                    body = rules(*trio, generation=str(acknowledged + 1))
                    call(settings, "POST", "/v1/resources", body)
                    acknowledged += 1
                    if acknowledged == before + 4:
                        threading.Timer(0.05, os.kill, (server.pid, signal.SIGKILL)).start()
            assert acknowledged > before + 3
    with process(settings):
        for name in trio:
            stored = call(settings, "GET", f"/v1/resources/DestinationRule/shop/{name}")
            assert int(stored["labels"]["writing"]) in (acknowledged, acknowledged + 1)
            newest = call(settings, "GET", f"/v1/resources/DestinationRule/shop/{name}/history")
            assert newest["revisions"][0]["resource"] == stored


def test_what_happened_before_a_restart_is_told_after_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    for name in ("a", "b"):
        with process(settings) as server:
            call(settings, "POST", "/v1/resources", rules(name))
            server.terminate()
            assert server.wait(60) == 0
    with process(settings):
        told = [event["subject"] for event in call(settings, "GET", "/v1/events")["events"]]
    assert [subject for subject in told if subject.startswith("Dest")] == [
        "DestinationRule/shop/a",
        "DestinationRule/shop/b",
    ]


def test_its_database_deleted_under_it_takes_nothing_away_also_by_a_kill(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with process(settings):
        call(settings, "POST", "/v1/resources", rules("a"))
        for file in settings.paths.database.parent.glob("meshlite.db*"):
            file.unlink()
        call(settings, "POST", "/v1/resources", rules("b"))
        told = [event["message"] for event in call(settings, "GET", "/v1/events")["events"]]
        deadline = time.monotonic() + 60
        while not any("was deleted; it is written anew" in message for message in told):
            assert time.monotonic() < deadline, told
            time.sleep(0.1)
            told = [event["message"] for event in call(settings, "GET", "/v1/events")["events"]]
    with process(settings):
        assert [one["name"] for one in call(settings, "GET", "/v1/resources")["resources"]] == ["a", "b"]


def test_another_database_in_its_place_is_said_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with process(settings):
        (tmp_path / "other").write_bytes(b"something")
        (tmp_path / "other").replace(settings.paths.database)
        with pytest.raises(AssertionError, match="another file was"):
            call(settings, "POST", "/v1/resources", rules("a"))
        deadline = time.monotonic() + 60
        while not (problems := call(settings, "GET", "/v1/health")["problems"]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "another file was put there" in problems[0]["reason"]


def test_killed_it_comes_back_with_the_same_snapshot(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with process(settings):
        call(settings, "PUT", "/v1/nodes/web-1/projects", {"projects": ["shop"]})
        body = report(workload("reviews"), workload("ratings")).model_dump(mode="json")
        call(settings, "PUT", "/v1/nodes/web-1/workloads", body)
        call(settings, "POST", "/v1/resources", rules("a"))
        before = call(settings, "GET", "/v1/snapshot")
    with process(settings):
        assert call(settings, "GET", "/v1/snapshot") == before
        node = call(settings, "GET", "/v1/nodes")["nodes"][0]
        assert node["alive"]
        assert settings.paths.admin_socket.is_socket(), "the dead one's socket was replaced"


def test_the_first_applied_stays_the_first_over_kills_changes_and_deletions(tmp_path: Path) -> None:
    """The order of first application counts, not names or changes; a free place is not given again."""
    settings = settings_in(tmp_path)

    def order() -> list[tuple[str, int]]:
        stored = call(settings, "GET", "/v1/resources")["resources"]
        return [(one["name"], one["sequence"]) for one in stored]

    def loser() -> str:
        """The one that is told, at a change of all, that another was first."""
        body = {"dry_run": True, **subsets("a", "m", "z", version="v9")}
        applied = call(settings, "POST", "/v1/resources", body)["applied"]
        [told] = {one["key"] for one in applied if any("MESH0003" in text for text in one["warnings"])} - {
            "DestinationRule/shop/a"
        }
        return told.rpartition("/")[2]

    with process(settings):
        call(settings, "POST", "/v1/resources", subsets("z"))
        call(settings, "POST", "/v1/resources", subsets("m"))
        assert order() == [("z", 1), ("m", 2)]
        assert loser() == "m"
    with process(settings):
        call(settings, "POST", "/v1/resources", subsets("z", version="v2"))
        assert order() == [("z", 1), ("m", 2)], "a change keeps its place"
        assert loser() == "m"
        call(settings, "DELETE", "/v1/resources/DestinationRule/shop/m")
    with process(settings):
        call(settings, "POST", "/v1/resources", subsets("m"))
        assert order() == [("z", 1), ("m", 3)]
        call(settings, "DELETE", "/v1/resources/DestinationRule/shop/z")
        call(settings, "POST", "/v1/resources", subsets("z"))
    with process(settings):
        assert order() == [("m", 3), ("z", 4)]
        assert loser() == "z"
        snapshot = call(settings, "GET", "/v1/snapshot")["resources"]
        assert {one["name"]: one["sequence"] for one in snapshot} == {"m": 3, "z": 4}


def subsets(*names: str, version: str = "v1") -> dict[str, Any]:
    """Rules of these names, all for one host and with one subset."""
    body = rules(*names)
    for document in body["documents"]:
        document["resource"]["spec"]["subsets"] = [{"name": "one", "labels": {"version": version}}]
    return body


def test_sigterm_ends_it_soon_and_cleanly_with_readers_on_the_stream(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with process(settings) as server:
        connection = LocalConnection(settings.paths.admin_socket)
        connection.request("GET", "/v1/snapshots")
        stream = connection.getresponse()
        assert json.loads(stream.readline())["full"]
        server.terminate()
        assert stream.read() == b"", "the stream ends as it should, not in the middle"
        assert server.wait(timeout=60) == 0
        connection.close()
    assert not settings.paths.admin_socket.exists()


def test_it_starts_once_for_a_state_folder(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with process(settings) as server:
        other = settings_in(tmp_path, paths={"state": tmp_path / "state", "run": tmp_path / "run2"})
        said = failed_start(other)
        assert f"process {server.pid}" in said
        assert "already uses" in said
        other = settings_in(tmp_path, paths={"state": tmp_path / "state2", "run": tmp_path / "run"})
        assert "another server answers" in failed_start(other)
        assert call(settings, "GET", "/v1/health")["status"] == "ok"


def test_what_keeps_it_from_starting_is_said_in_a_sentence(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.ports.server))
        taken.listen()
        said = failed_start(settings)
        assert f"cannot listen on 127.0.0.1:{settings.ports.server}: Address already in use" in said
    assert not settings.paths.admin_socket.exists()
    (tmp_path / "state" / "server" / "meshlite.db").write_bytes(b"garbage" * 1000)
    for leftover in (tmp_path / "state" / "server").glob("meshlite.db-*"):
        leftover.unlink()
    assert "not a database" in failed_start(settings)
    (tmp_path / "state" / "server" / "root-key.pem").write_text("garbage")
    (tmp_path / "state" / "server" / "meshlite.db").unlink()
    assert "not a PEM private key" in failed_start(settings)


def test_only_root_and_the_group_may_use_the_local_socket(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with process(settings):
        assert settings.paths.admin_socket.stat().st_mode & 0o777 == 0o660
        assert settings.paths.database.parent.stat().st_mode & 0o777 == 0o700


GARBAGE = [
    b"GARBAGE\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: zz\r\n\r\n",
    b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
]


def test_what_is_no_proper_http_is_refused_and_logged_in_a_line(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with process(settings) as server:
        for sent in GARBAGE:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.settimeout(60)
                caller.connect(str(settings.paths.admin_socket))
                caller.sendall(sent)
                assert b" 400 " in caller.recv(4096).split(b"\r\n", 1)[0], sent
        with socket.create_connection(("127.0.0.1", settings.ports.server), timeout=60) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert caller.recv(100) == b"", "no plaintext on the TLS port"
        assert call(settings, "GET", "/v1/health")["status"] == "ok"
        server.terminate()
        assert server.stderr is not None
        assert "Traceback" not in server.stderr.read()


def test_an_idle_server_is_small(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with process(settings) as server:
        call(settings, "POST", "/v1/resources", rules("a"))
        status = Path(f"/proc/{server.pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 80 * 1024


async def test_its_certificate_is_renewed_without_a_restart(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, certificate_hours=3 / 3600)

    def served() -> x509.Certificate:
        pem = ssl.get_server_certificate(("127.0.0.1", settings.ports.server))
        return x509.load_pem_x509_certificate(pem.encode())

    async with running(settings):
        first = await asyncio.to_thread(served)
        deadline = time.monotonic() + 60
        while (again := await asyncio.to_thread(served)).serial_number == first.serial_number:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert again.not_valid_after_utc > first.not_valid_after_utc
