"""The prober reads answers from a real server, and takes up a lost connection again."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from bench.prober import Prober, parse
from bench.processes import cpu_seconds, output, resident

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Bench: 7\r\n\r\nhello"


@pytest.fixture
def port() -> Iterator[int]:
    """A server that answers twice on each connection, then closes it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                for _ in range(2):
                    if not connection.recv(65536):
                        break
                    connection.sendall(ANSWER[:20])
                    connection.sendall(ANSWER[20:])

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.mark.skipif(os.geteuid() != 0, reason="entering a network namespace needs root")
def test_it_goes_on_when_the_connection_is_lost(port: int) -> None:
    with closing(Prober(os.getpid(), "127.0.0.1", port, "server")) as prober:
        answers = [prober.ask() for _ in range(6)]
    heard = [answer.headers["x-bench"] for answer in answers if answer is not None]
    assert heard == ["7"] * 4
    assert answers.count(None) == 2


def test_header_names_are_read_in_any_case() -> None:
    answer = parse("HTTP/1.1 503 Service Unavailable\r\nX-Bench:  9 \r\ncontent-length: 0")
    assert (answer.status, answer.headers["x-bench"]) == (503, "9")


def test_the_kernel_counts_work_and_memory() -> None:
    before = cpu_seconds([os.getpid()])
    while cpu_seconds([os.getpid()]) < before + 0.02:
        sum(range(10_000))
    assert 1 < resident(os.getpid()) < 10_000


def test_a_failed_command_is_told_in_its_own_words() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        output(["sh", "-c", "echo no such thing >&2; exit 3"])
