"""Kills, restarts and rolls under load: what users see when a part fails, and what `down` leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker import host
from tests.docker.conftest import MakeProject, prepare
from tests.docker.load import Load, Request
from tests.docker.mesh import Mesh

WEB = """
import http.server, os, signal, sys, threading
class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (os.environ["NAME"] + " " + os.uname().nodename).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("", 8000), Web)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""


def web(name: str) -> dict[str, object]:
    """A replica of the service `web`, with a version of its own and a Compose service of its own."""
    return {
        "command": ["python3", "-c", WEB],
        "environment": {"NAME": name},
        "labels": {"app": "web", "version": name},
        "expose": ["8000"],
        "stop_grace_period": "5s",
        "restart": "always",
    }


@pytest.fixture
def mesh(compose_project: MakeProject, tmp_path: Path) -> Iterator[Mesh]:
    """Two replicas of `web` and a client in the mesh; afterwards the host must be as it was before `up`."""
    client = {"command": ["sleep", "3600"], "restart": "always"}
    project = compose_project({"services": {"web-a": web("a"), "web-b": web("b"), "client": client}})
    before = host.facts()
    mesh = Mesh(project, tmp_path / "state")
    try:
        mesh.up()
        mesh.eventually(lambda: answers(mesh) == {"a", "b"}, "both replicas answer through the mesh")
        yield mesh
    finally:
        mesh.down()
    after = host.facts()
    for fact in ("our links", "our mounts", "processes", "our sockets", "listening ports"):
        assert set(after[fact]) <= set(before[fact]), f"there are more {fact} than before up"  # type: ignore[call-overload]
    for fact in ("nft ruleset", "daemon.json", "default runtime", "run folder"):
        assert after[fact] == before[fact], f"{fact} is not as it was before up"
    for name, file in after["hosts files"].items():  # type: ignore[attr-defined]
        assert b"meshlite" not in file, f"{name} still has lines of the mesh"
        assert before["hosts files"].get(name, file) == file  # type: ignore[attr-defined]
    for name, rules in after["rules in namespaces"].items():  # type: ignore[attr-defined]
        assert "meshlite" not in rules, f"rules are left in the namespace of {name}"
        assert "mesh0" not in after["interfaces in namespaces"][name]  # type: ignore[index]


def answers(mesh: Mesh, count: int = 12) -> set[str]:
    """Which replicas answer the client; any answer that is not 200 is an error."""
    names = set()
    for _ in range(count):
        status, body = mesh.project.curl("client", "http://web:8000/")
        assert status == 200, f"{status} {body}"
        names.add(body.split()[0])
    return names


def explain(failed: list[Request]) -> str:
    return str(Counter((request.outcome, request.body) for request in failed).most_common(5))


def test_a_killed_server_is_not_noticed_and_comes_back_to_the_same_state(mesh: Mesh) -> None:
    before, envoy = services(mesh), mesh.pid("envoy")
    with Load(mesh.project, "client", "web", 8000) as load:
        killed = mesh.pid("server")
        os.kill(killed, signal.SIGKILL)
        mesh.eventually(lambda: is_back(mesh, "server", killed), "the server is back", seconds=60)
        mesh.eventually(lambda: services(mesh) == before, "its state is the same")
    assert not load.failed, explain(load.failed)
    assert mesh.pid("envoy") == envoy


def services(mesh: Mesh) -> list[dict[str, Any]]:
    """All that is told of them, with addresses, modes and how many get calls."""
    found: list[dict[str, Any]] = json.loads(mesh("get", "services", "-o", "json"))
    return found


def test_a_container_joins_while_the_server_is_dead(mesh: Mesh) -> None:
    mesh.kill("server")
    mesh.project.compose("up", "-d", "--force-recreate", "--no-deps", "web-a")
    mesh.eventually(lambda: answers(mesh) == {"a", "b"}, "the new replica answers without a server")


def test_a_killed_agent_is_not_noticed_and_resends_nothing(mesh: Mesh) -> None:
    envoy = mesh.pid("envoy")
    before = proxy_updates(mesh)
    with Load(mesh.project, "client", "web", 8000) as load:
        killed = mesh.pid("agent")
        os.kill(killed, signal.SIGKILL)
        mesh.eventually(lambda: is_back(mesh, "agent", killed), "the agent is back", seconds=60)
    assert not load.failed, explain(load.failed)
    assert mesh.pid("envoy") == envoy
    assert proxy_updates(mesh) == before, "listeners or clusters were touched by the agent's return"


def test_deleted_sockets_and_a_killed_supervisor_are_not_noticed_and_up_mends_them(mesh: Mesh) -> None:
    old, envoy = {part: mesh.pid(part) for part in ("server", "agent")}, mesh.pid("envoy")
    for name in ("admin.sock", "agent.sock"):
        Path("/run/meshlite", name).unlink()
    said = mesh.run("status").stdout
    assert all(f"process {pid} runs, but its socket was deleted" in said for pid in old.values()), said
    with Load(mesh.project, "client", "web", 8000) as load:
        mesh.up()
        mesh.eventually(lambda: all(is_back(mesh, part, pid) for part, pid in old.items()), "all is well")
    assert not load.failed, explain(load.failed)
    assert mesh.pid("envoy") == envoy

    pids = {part: mesh.pid(part) for part in ("server", "agent", "envoy")}
    mesh.kill()
    mesh.up()
    assert {part: mesh.pid(part) for part in pids} == pids
    os.kill(pids["server"], signal.SIGKILL)
    mesh.eventually(lambda: is_back(mesh, "server", pids["server"]), "the new one watches", seconds=60)


def is_back(mesh: Mesh, part: str, killed: int) -> bool:
    """Whether another process than the killed one does the part's work, and all is well again."""
    try:
        if mesh.pid(part) == killed:
            return False
    except OSError:
        return False
    return mesh.run("status").returncode == 0 and mesh.status()["proxy"]["synced"] is True


def test_a_killed_envoy_serves_again(mesh: Mesh) -> None:
    envoy = mesh.pid("envoy")
    with Load(mesh.project, "client", "web", 8000) as load:
        time.sleep(1)
        os.kill(envoy, signal.SIGKILL)
        mesh.eventually(lambda: mesh.pid("envoy") not in (0, envoy), "there is another Envoy")
        mesh.eventually(lambda: answers(mesh) == {"a", "b"}, "it serves")
        time.sleep(1)
    assert all(request.ok for request in load.requests[-50:]), load.outcomes


def test_a_replica_is_recreated_without_a_failed_request(mesh: Mesh) -> None:
    with Load(mesh.project, "client", "web", 8000) as load:
        time.sleep(1)
        mesh.project.compose("up", "-d", "--force-recreate", "--no-deps", "web-a")
        time.sleep(2)
    assert not load.failed, explain(load.failed)
    mesh.eventually(lambda: answers(mesh) == {"a", "b"}, "the new replica takes part")


def test_a_killed_replica_costs_at_most_the_requests_it_was_answering(mesh: Mesh) -> None:
    """Envoy may not repeat a request whose answer had begun; everything else goes to the other replica."""
    with Load(mesh.project, "client", "web", 8000) as load:
        time.sleep(1)
        subprocess.run(["docker", "kill", mesh.project.container("web-a")], check=True, capture_output=True)
        time.sleep(3)
    assert len(load.failed) <= load.threads, explain(load.failed)
    for request in load.failed:
        assert request.outcome == "503", explain(load.failed)
        assert "reset" in request.body or "disconnect" in request.body, explain(load.failed)


def test_a_container_that_could_not_be_waited_for_is_told_of_until_it_is_restarted(mesh: Mesh) -> None:
    envoy = mesh.pid("envoy")
    os.kill(envoy, signal.SIGSTOP)
    try:
        mesh.project.compose("up", "-d", "--force-recreate", "--no-deps", "web-a")
    finally:
        os.kill(envoy, signal.SIGCONT)
    mesh.eventually(lambda: "started before it was captured" in mesh.run("status").stdout, "it is told")
    mesh.project.compose("restart", "-t", "1", "web-a")
    mesh.eventually(lambda: "before it was captured" not in mesh.run("status").stdout, "it is no more")


def test_the_mesh_survives_a_restart_of_the_engine(mesh: Mesh) -> None:
    prepare("engine", "restart")
    mesh.eventually(lambda: answers(mesh) == {"a", "b"}, "the mesh is back without a command", seconds=60)
    captured = [workload["captured"] for workload in mesh.status()["workloads"]]
    assert captured == [True, True, True]


def test_containers_that_the_engine_starts_with_itself_are_captured_before_their_first_instruction(
    compose_project: MakeProject, tmp_path: Path
) -> None:
    """An engine that starts up runs its containers before it answers any question about them."""
    asks = {"command": ["python3", "-c", "import time, urllib.request\n" + FIRST_ACT], "restart": "always"}
    project = compose_project({"services": {"web-a": web("a"), "caller": asks}}, up=False)
    project.compose("up", "-d", "web-a")
    mesh = Mesh(project, tmp_path / "state")
    try:
        mesh.up()
        mesh.apply(STAMP.format(namespace=project.name))
        project.compose("up", "-d", "caller")
        mesh.eventually(lambda: first_answers(mesh), "the caller has started")
        prepare("engine", "restart")
        mesh.eventually(lambda: len(first_answers(mesh)) == 2, "it started again", seconds=60)
        assert first_answers(mesh) == ["from the mesh"] * 2, mesh.logs()
    finally:
        mesh.down()


def first_answers(mesh: Mesh) -> list[str]:
    """What the caller got at each of its starts, oldest first."""
    return [line.split("|")[-1].strip() for line in mesh.project.compose("logs", "caller").splitlines()]


def test_the_mesh_lets_go_of_a_project_that_was_removed(mesh: Mesh) -> None:
    mesh.project.compose("rm", "-sf", "web-b")
    mesh.eventually(lambda: answers(mesh) == {"a"}, "only the other replica answers")


@pytest.mark.parametrize("part", ["server", "agent", "envoy"])
def test_down_cleans_up_although_a_part_is_dead(mesh: Mesh, part: str) -> None:
    mesh.kill(part, *(["agent"] if part == "envoy" else []))
    # What `down` must leave is asserted by the fixture.


def test_thirty_containers_at_once_are_all_captured_before_their_first_instruction(
    compose_project: MakeProject, tmp_path: Path
) -> None:
    asks = "import sys, time, urllib.request\n" + FIRST_ACT
    caller = {"command": ["python3", "-c", asks], "deploy": {"replicas": 30}}
    project = compose_project({"services": {"web-a": web("a"), "caller": caller}}, up=False)
    project.compose("up", "-d", "web-a")
    mesh = Mesh(project, tmp_path / "state")
    try:
        mesh.up()
        mesh.apply(STAMP.format(namespace=project.name))
        project.compose("up", "-d", "caller", timeout=150)
        mesh.eventually(said(mesh), "every caller has said what it got first", seconds=60)
        assert Counter(first_answers(mesh)) == {"from the mesh": 30}, mesh.logs()
    finally:
        mesh.down()


FIRST_ACT = """
try:
    answer = urllib.request.urlopen("http://web:8000/", timeout=60).read().decode()
except Exception as error:
    answer = repr(error)
print(answer, flush=True)
time.sleep(600)
"""
STAMP = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: {namespace}}}
spec:
  hosts: [web]
  http: [{{directResponse: {{status: 200, body: {{string: from the mesh}}}}}}]
"""


def said(mesh: Mesh) -> Callable[[], object]:
    return lambda: len(mesh.project.compose("logs", "caller").splitlines()) >= 30


def proxy_updates(mesh: Mesh) -> dict[str, str]:
    """Envoy's counters of configuration changes."""
    wanted = (
        "listener_manager.listener_added",
        "listener_manager.listener_modified",
        "cluster_manager.cluster_",
    )
    done = subprocess.run(
        ["curl", "-sS", "--unix-socket", "/run/meshlite/proxy/admin.sock", "http://envoy/stats"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = (line.partition(": ") for line in done.stdout.splitlines() if line.startswith(wanted))
    return {name: value for name, _, value in rows}
