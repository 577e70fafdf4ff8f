"""Signals, looks and starts: what a container's process shows between two words of the engine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlite.sources import process
from meshlite.sources.sockets import Listening, SocketTable, parse
from meshlite.sources.tracked import Tracked, drain_seconds, is_up, look_interval, next_look
from tests.sources.records import record


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    made = subprocess.Popen(["sleep", "60"])
    yield made
    made.kill()
    made.wait()


@pytest.mark.parametrize(
    ("number", "stop", "ends"),
    [
        (15, None, True),
        (9, None, True),
        (2, None, True),
        (3, None, True),
        (1, None, False),
        (10, None, False),
        (28, None, False),
        (28, "SIGWINCH", True),
        (37, "SIGRTMIN+3", True),
        (12, "12", True),
        (10, "USR1", True),
        (1, "nonsense", False),
    ],
)
def test_signals_that_end_a_container(number: int, stop: str | None, ends: bool) -> None:
    raw = record()
    raw["Config"]["StopSignal"] = stop
    assert bool(drain_seconds(number, raw)) is ends


def test_signals_that_some_programs_take_for_something_else_are_doubted_soon() -> None:
    assert drain_seconds(3, record()) < drain_seconds(15, record())


def test_a_port_that_opens_soon_after_the_start_is_seen_soon_and_settled_ones_cost_little() -> None:
    assert look_interval(0.1, up=False) <= 0.02
    assert look_interval(20, up=False) <= 0.1
    assert look_interval(3600, up=True) >= 5
    ages = [look_interval(age, up=False) for age in (0, 1, 10, 100)]
    assert ages == sorted(ages)


@pytest.mark.parametrize(
    ("address", "up"), [("127.0.0.11", False), ("::1", False), ("0.0.0.0", True), ("172.18.0.2", True)]
)
def test_the_engines_name_server_is_not_the_app_that_is_waited_for(address: str, up: bool) -> None:
    assert is_up([Listening(4000, address)]) is up


def test_looks_at_settled_workloads_fall_together() -> None:
    assert {next_look(now, 5.0) for now in (100.0, 101.3, 104.9)} == {105.0}
    assert next_look(105.0, 5.0) == 110.0


def test_a_signal_makes_it_drain(sleeper: subprocess.Popen[bytes]) -> None:
    tracked = Tracked(record(), sleeper.pid, "node-1")
    assert tracked.found.workload.health == "healthy"
    assert not tracked.signalled(1)
    assert tracked.found.workload.health == "healthy"
    assert tracked.signalled(15)
    assert tracked.found.workload.health == "draining"
    tracked.close()


def test_the_same_process_keeps_its_id_and_a_process_that_ended_is_noticed() -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    one, other = (Tracked(record(), sleeper.pid, "node-1") for _ in range(2))
    assert one.found.workload.id == other.found.workload.id
    assert one.alive
    sleeper.kill()
    sleeper.wait()
    assert not one.alive
    with pytest.raises(ProcessLookupError):
        Tracked(record(), sleeper.pid, "node-1")
    one.close()
    other.close()


def test_ports_that_the_mesh_opens_in_a_namespace_are_nobodys(sleeper: subprocess.Popen[bytes]) -> None:
    with socket.create_server(("0.0.0.0", 15006)):
        for ours, expected in ((frozenset[int](), True), (frozenset({15006}), False)):
            tracked = Tracked(record(), sleeper.pid, "node-1", ours=ours)
            assert (15006 in {port.number for port in tracked.found.workload.ports}) is expected
            tracked.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_kernel_tells_what_listens_and_where(family: socket.AddressFamily) -> None:
    table = SocketTable("/proc/self/ns/net")
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        assert (port, address) in {(heard.port, heard.address) for heard in table.read().values()}
        with socket.create_connection((address, port)):
            heard = [one.port for one in table.read().values()]
            assert heard.count(port) == 1, "a connection does not listen"
    assert port not in {heard.port for heard in table.read().values()}
    table.close()


def test_a_socket_for_ipv6_only_is_told_from_one_for_both() -> None:
    table = SocketTable("/proc/self/ns/net")
    for only in (True, False):
        with socket.socket(socket.AF_INET6) as server:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            server.bind(("::", 0))
            server.listen()
            heard = next(h for h in table.read().values() if h.port == server.getsockname()[1])
            assert (heard.v6only, heard.everywhere) == (only, not only)
    table.close()


def test_a_message_of_the_kernel_is_read() -> None:
    message = (
        bytes([2, 10, 0, 0])
        + (8080).to_bytes(2, "big")
        + bytes(2)
        + bytes([172, 18, 0, 3])
        + bytes(12 + 16 + 12 + 16)
        + (4711).to_bytes(4, sys.byteorder)
    )
    assert parse(message) == (4711, Listening(8080, "172.18.0.3"))


SERVE = """
import sys
from tests.sources.test_tracked import chosen
server = chosen()
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


def chosen() -> socket.socket:
    """A server on a port such as people choose; what the kernel chooses counts for nobody's."""
    for port in range(20000, 30000):
        with contextlib.suppress(OSError):
            return socket.create_server(("0.0.0.0", port))
    raise OSError("no port is free")


def test_of_a_namespace_that_it_shares_a_container_has_what_its_own_processes_opened() -> None:
    """Told apart by the namespace of process ids here, by the control group with a real engine."""
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", SERVE]
    with (
        chosen() as others,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as outer,
    ):
        assert outer.stdout is not None
        port = int(outer.stdout.readline())
        pid = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
        joined = Tracked(record(mode="container:ffff", networks={}), pid, "node-1")
        assert [one.number for one in joined.found.workload.ports] == [port]
        owner = Tracked(record(), pid, "node-1")
        assert {port, others.getsockname()[1]} <= {one.number for one in owner.found.workload.ports}
        joined.close()
        owner.close()


def test_where_nothing_tells_whose_a_socket_is_it_says_so(sleeper: subprocess.Popen[bytes]) -> None:
    with chosen():
        joined = Tracked(record(mode="container:ffff", networks={}), sleeper.pid, "node-1")
        assert joined.found.workload.ports == ()
        assert "cannot be told" in joined.found.workload.reason
        joined.close()


def test_the_namespace_of_a_process_and_of_none() -> None:
    own = process.namespace(os.getpid())
    assert own is not None
    assert own.key == str(os.stat("/proc/self/ns/net").st_ino)
    assert process.namespace(2**22 - 1) is None
    assert process.started(2**22 - 1) == ""
