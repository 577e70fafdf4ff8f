"""The whole agent as a process, in a network namespace of its own: what it answers, survives and leaves."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlite.agent import launch_plan, proxy
from meshlite.agent.process import Process
from meshlite.config import Settings
from tests.agent.envoys import free_port, needs_root

pytestmark = needs_root


class Host:
    """A host without a container engine: loopback, the agent, perhaps the server."""

    def __init__(self, settings: Settings, namespace: str) -> None:
        self.settings, self.namespace = settings, namespace
        self.folder = settings.paths.run.parent
        self.started: list[subprocess.Popen[bytes]] = []
        # Neither may be this machine's own: an agent that leaves takes itself out of what it finds there.
        engine = {"docker_socket": "no-engine.sock", "daemon_json": "daemon.json"}
        paths = {key: str(self.folder / name) for key, name in engine.items()}
        config = {"node": "node-1", "paths": paths}
        (self.folder / "meshlite.yaml").write_text(json.dumps(config))

    def start(self, part: str) -> subprocess.Popen[bytes]:
        paths = self.settings.paths
        environ = {**os.environ, "MESHLITE_STATE_DIR": str(paths.state), "MESHLITE_RUN_DIR": str(paths.run)}
        command = [sys.executable, "-m", "meshlite", "--config", str(self.folder / "meshlite.yaml"), part]
        with (self.folder / f"{part}.log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *command], env=environ, stdout=log, stderr=log
            )
        self.started.append(process)
        return process

    def ask(self, path: str, *options: str) -> tuple[int, str]:
        """Status and body of the agent's answer; 0 where there is none."""
        socket = str(self.settings.paths.run / "agent.sock")
        command = ["curl", "-sS", "-w", "\n%{http_code}", "--unix-socket", socket, *options]
        done = subprocess.run([*command, f"http://agent{path}"], capture_output=True, text=True, timeout=60)
        body, _, code = done.stdout.rpartition("\n")
        return int(code or 0), body

    def status(self) -> dict[str, Any]:
        code, body = self.ask("/v1/status")
        return json.loads(body) if code == 200 else {}  # type: ignore[no-any-return]

    def proxy(self) -> int:
        """Process id of its Envoy, once it has one."""
        wait(lambda: self.status() and self.status()["proxy"]["pid"])
        return int(self.status()["proxy"]["pid"])

    def inside(self, *command: str) -> str:
        full = ["ip", "netns", "exec", self.namespace, *command]
        return subprocess.run(full, capture_output=True, text=True, check=False).stdout

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        proxy.remove(launch_plan.plan_of(self.settings))


@pytest.fixture
def host(settings: Settings) -> Iterator[Host]:
    name = f"ml-app-{free_port()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    made = Host(settings, name)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield made
    finally:
        made.end()
        subprocess.run(["ip", "netns", "del", name], check=True)


def wait(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_alone_it_answers_and_says_what_is_missing_then_finds_the_server(host: Host) -> None:
    host.start("agent")
    wait(host.status)
    wait(lambda: host.status()["server"]["error"])
    assert host.proxy()
    assert host.ask("/v1/proxy/config/listeners?workload=nobody")[0] == 404
    assert host.ask("/v1/proxy/config/nonsense")[0] == 404
    assert json.loads(host.ask("/v1/nothing")[1])["error"]
    host.start("server")
    wait(lambda: host.status()["server"]["connected"])
    assert (host.settings.paths.agent_state / "node.pem").exists()


OPEN = {
    "": 0o755,
    "netns": 0o711,
    "proxy": 0o700,
    "*.pid": 0o644,
    "admin.sock": 0o660,
    "agent.sock": 0o660,
    "bootstrap.json": 0o640,
}
"""What in the run folder is not its owner's alone: the node proxy's user has to get through."""


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_nobody_else_reads_what_the_mesh_keeps(host: Host) -> None:
    host.start("server")
    host.start("agent")
    paths = host.settings.paths
    assert host.proxy()
    wait(lambda: host.status()["server"]["connected"] and (paths.agent_state / "snapshot.json").exists())
    wait((paths.run / "proxy" / "admin.sock").exists)
    for entry in (paths.run, *paths.run.iterdir()):
        name = entry.name if entry != paths.run else ""
        assert mode(entry) == OPEN.get(name, OPEN.get(f"*{entry.suffix}", 0o600)), entry
    assert [mode(paths.state / name) for name in ("server", "agent", "log")] == [0o700, 0o700, 0o750]
    kept = [file for file in paths.state.rglob("*") if file.is_file()]
    assert {"meshlite.db", "snapshot.json", "node.key", "envoy.log"} <= {file.name for file in kept}
    assert [str(file) for file in kept if mode(file) & 0o007] == []
    keys = [file for file in kept if b"PRIVATE KEY" in file.read_bytes()]
    assert {file.name for file in keys} == {"root-key.pem", "node.key"}
    assert {mode(file) for file in keys} == {0o600}


def test_metrics_and_health_are_on_loopback_and_the_admin_is_not(host: Host) -> None:
    host.start("agent")
    wait(host.status)
    metrics = host.inside("curl", "-sS", "http://127.0.0.1:15020/metrics")
    assert "meshlite_agent_captured_workloads 0" in metrics
    assert "meshlite_agent_build_info{" in metrics
    assert "healthy" in host.inside("curl", "-sS", "http://127.0.0.1:15020/healthz")
    code = host.inside(
        "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:15020/v1/status"
    )
    assert code == "404"
    assert (host.settings.paths.run / "agent.sock").stat().st_mode & 0o007 == 0


def test_sigterm_leaves_proxy_and_rules_and_kill_is_survived(host: Host) -> None:
    agent = host.start("agent")
    pid = host.proxy()
    for number, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -9)):
        agent.send_signal(number)
        assert agent.wait(10) == code
        assert Path(f"/proc/{pid}").exists()
        assert "table inet meshlite" in host.inside("nft", "list", "tables")
        agent = host.start("agent")
        assert host.proxy() == pid


def test_told_to_leave_it_takes_everything_back_and_ends(host: Host) -> None:
    before = host.inside("nft", "list", "ruleset")
    agent = host.start("agent")
    pid = host.proxy()
    body = ("-X", "POST", "-H", "content-type: application/json", "-d", '{"leave": true}')
    process = Process.of(pid)
    code, answer = host.ask("/v1/shutdown", *body)
    assert (code, json.loads(answer)) == (202, {"state": "leaving"})
    assert agent.wait(20) == 0
    assert not process.alive
    assert host.inside("nft", "list", "ruleset") == before
    left = {file.name for file in host.settings.paths.run.iterdir()}
    assert left <= {"agent.pid"}


def test_a_second_agent_says_that_one_runs_already(host: Host) -> None:
    host.start("agent")
    wait(host.status)
    second = host.start("agent")
    assert second.wait(20) == 1
    assert "Traceback" not in host.log()
    assert host.status()
