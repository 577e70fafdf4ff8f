"""What the demo stands on: Bookinfo as processes on loopback, and the commands people type first."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BOOKINFO = ROOT / "compose" / "bookinfo" / "bookinfo.py"

Start = Callable[..., tuple[subprocess.Popen[bytes], int]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start one service with these variables; gives its process and port once it answers."""
    running: list[subprocess.Popen[bytes]] = []

    def run(service: str, **environ: str) -> tuple[subprocess.Popen[bytes], int]:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, str(BOOKINFO), service],
            env={**os.environ, "PORT": str(port), **environ},
            stdout=subprocess.DEVNULL,
        )
        running.append(process)
        wait_for(port)
        return process, port

    yield run
    for process in running:
        process.kill()
        process.wait()


def test_reviews_carry_the_stars_of_ratings_in_the_colour_of_their_version(start: Start) -> None:
    _, ratings = start("ratings")
    ask(ratings, "/ratings/0", method="POST", body='{"Reviewer1": 2}')
    for version, color in (("v1", None), ("v2", "black"), ("v3", "red")):
        _, reviews = start("reviews", VERSION=version, RATINGS_URL=f"http://127.0.0.1:{ratings}")
        first = json.loads(ask(reviews, "/reviews/0")[1])["reviews"][0]
        assert first.get("rating") == (color and {"stars": 2, "color": color})


def test_reviews_say_so_when_ratings_fail(start: Start) -> None:
    with stand_in(status=503) as (ratings, _):
        _, reviews = start("reviews", VERSION="v2", RATINGS_URL=f"http://127.0.0.1:{ratings}")
        first = json.loads(ask(reviews, "/reviews/0")[1])["reviews"][0]
    assert "unavailable" in first["rating"]["error"]


def test_the_signed_in_user_and_the_trace_reach_the_next_service(start: Start) -> None:
    with stand_in(status=200) as (reviews, seen):
        _, page = start("productpage", REVIEWS_URL=f"http://127.0.0.1:{reviews}")
        ask(page, "/api/v1/products/0/reviews", headers={"cookie": "user=jason", "x-request-id": "r-1"})
        ask(page, "/api/v1/products/0/reviews?u=mary")
    assert (seen[0]["end-user"], seen[0]["x-request-id"]) == ("jason", "r-1")
    assert seen[1]["end-user"] == "mary"


def test_a_user_name_is_text_wherever_it_goes(start: Start) -> None:
    _, page = start("productpage", DETAILS_URL="http://127.0.0.1:1", REVIEWS_URL="http://127.0.0.1:1")
    status, body = ask(page, "/productpage?u=%3Cscript%3E%0D%0Ax-evil:1")
    assert status == 200
    assert "<script>" not in body
    assert "&lt;script&gt;" in body
    assert body.count("currently unavailable") == 2


def test_a_request_that_runs_is_finished_before_the_end(start: Start) -> None:
    with stand_in(status=200, seconds=0.8) as (ratings, seen):
        process, reviews = start("reviews", VERSION="v2", RATINGS_URL=f"http://127.0.0.1:{ratings}")
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(ask(reviews, "/reviews/0")[0]))
        asking.start()
        wait_until(lambda: bool(seen))
        process.send_signal(signal.SIGTERM)
        asking.join()
        assert answers == [200]
        assert process.wait(timeout=60) == 0


def test_an_idle_service_ends_without_waiting_for_its_callers(start: Start) -> None:
    process, port = start("details")
    idle = http.client.HTTPConnection("127.0.0.1", port)
    idle.request("GET", "/details/0")
    idle.getresponse().read()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    idle.close()


def test_make_alone_lists_every_target_people_are_promised() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True).stdout
    targets = set(re.findall(r"^  make (\S+)", listed, re.MULTILINE))
    assert targets >= {"demo", "demo-down", "test", "check", "bench", "golden", "clean", "help"}


@pytest.mark.parametrize("script", ["setup", "engine", "image"])
def test_a_wrong_word_is_a_usage_error(script: str) -> None:
    done = subprocess.run([ROOT / "scripts" / script, "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage:" in done.stderr


@contextmanager
def stand_in(status: int, seconds: float = 0) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A service that notes request headers and, after a while, answers `{}`."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            time.sleep(seconds)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        server.server_close()


def ask(
    port: int, path: str, *, method: str = "GET", body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_for(port: int) -> None:
    def answers() -> bool:
        with suppress(OSError):
            return ask(port, "/health")[0] == 200
        return False

    wait_until(answers)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)
