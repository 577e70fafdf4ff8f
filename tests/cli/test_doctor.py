"""doctor on this machine: every check says something, and what is wrong is found and told with what to do."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from meshlite.cli import processes, supervision
from meshlite.cli.checks import kernel, parts, programs, room
from meshlite.cli.checks.finding import Outcome
from meshlite.cli.main import root
from meshlite.cli.supervisor import Part
from meshlite.cli.verbs.doctor import CHECKS, examine
from meshlite.config import Paths, Ports, Settings


def settings(folder: Path, **changes: Any) -> Settings:
    paths = Paths(
        state=folder / "state",
        run=folder / "run",
        daemon_json=folder / "daemon.json",
        docker_socket=folder / "docker.sock",
    )
    return Settings(paths=paths, **changes)


def doctor(folder: Path, *arguments: str) -> Result:
    config = folder / "meshlite.yaml"
    config.write_text(
        f"paths: {{state: {folder}/state, run: {folder}/run, docker_socket: {folder}/docker.sock}}\n"
    )
    return CliRunner().invoke(root, ["--config", str(config), "doctor", *arguments])


def test_every_check_has_a_line_and_a_failed_one_says_what_to_do(tmp_path: Path) -> None:
    done = doctor(tmp_path, "-o", "json")
    value = json.loads(done.stdout)
    assert [check["name"] for check in value["checks"]] == [name for name, _ in CHECKS]
    engine = next(check for check in value["checks"] if check["name"] == "engine")
    assert engine["level"] == "fail"
    assert str(tmp_path / "docker.sock") in engine["detail"]
    assert all(check["advice"] for check in value["checks"] if check["level"] != "ok")
    assert not value["ok"]
    assert done.exit_code == 1
    assert "engine" in done.stderr


def test_the_lines_for_people(tmp_path: Path) -> None:
    lines = doctor(tmp_path).stdout.splitlines()
    assert any(line.startswith("fail  engine") for line in lines)
    assert sum(line.split()[0] in ("ok", "warn", "fail") for line in lines) == len(CHECKS)


def test_a_check_that_stumbles_is_a_failed_check() -> None:
    def stumbles(settings: Settings) -> Any:
        raise KeyError("x")

    finding = examine(stumbles, Settings())
    assert finding.level == "fail"
    assert "could not be checked" in finding.detail


def test_a_port_that_somebody_uses_is_found(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        finding = room.ports(settings(tmp_path, ports=Ports(server=number)))
    assert finding.level == "fail"
    assert f"{number} (server)" in finding.detail


@pytest.mark.parametrize(
    ("text", "level"), [("{", "fail"), ("[]", "fail"), ("", "ok"), ('{"default-runtime": "crun"}', "ok")]
)
def test_daemon_json(text: str, level: str, tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text(text)
    assert programs.daemon_json(settings(tmp_path)).level == level


def test_the_rules_probe_leaves_the_host_alone() -> None:
    finding = kernel.nftables(Settings())
    assert finding.level in ("ok", "fail")
    assert "meshlite_probe" not in kernel.run(["nft", "list", "tables"]).text


def test_disk_looks_where_the_state_will_be(tmp_path: Path) -> None:
    finding = room.disk(settings(tmp_path))
    assert "MiB free for" in finding.detail
    assert str(tmp_path / "state") in finding.detail
    assert not (tmp_path / "state").exists()


def test_parts_that_nobody_starts_again_are_noticed(tmp_path: Path) -> None:
    """A process that stands for the server: first alone, then under a supervisor."""
    given = settings(tmp_path)
    run, log = given.paths.run, tmp_path / "log" / "server.log"
    assert parts.parts(given).detail == "none runs"
    server = Part("server", ("/bin/sleep", "600"), log, run / "server.pid")
    child = processes.start(server.command, log, os.environ, server.pid_file)
    try:
        alone = parts.parts(given)
        assert (alone.level, alone.advice) == ("warn", "meshlite up -d")
        assert "the server" in alone.detail
        supervision.watch(run, [server])
        assert parts.parts(given).level == "ok"
    finally:
        supervision.dismiss(run)
        child.kill()
        child.wait()


class Agent:
    """Answers its status."""

    def __init__(self, skew: float | None) -> None:
        self.skew = skew

    def get(self, path: str, timeout: float) -> dict[str, Any]:
        return {"clock": {"skew_seconds": self.skew}}


@pytest.mark.parametrize(
    ("skew", "level", "words"),
    [
        (None, "ok", ""),
        (2.0, "ok", ""),
        (90.0, "warn", "90 s ahead of the server's"),
        (-90.0, "warn", "90 s behind"),
    ],
)
def test_a_clock_unlike_the_servers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: float | None, level: str, words: str
) -> None:
    monkeypatch.setattr(room, "agent_of", lambda settings: Agent(skew))
    monkeypatch.setattr(room, "run", lambda command: Outcome(0, "yes"))
    finding = room.clock(settings(tmp_path))
    assert finding.level == level
    assert words in finding.detail
