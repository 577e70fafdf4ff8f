"""`up`, `down` and the tour on the real engine: idempotent, quick, and without a trace afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker import host
from tests.docker.compose import ComposeProject
from tests.docker.conftest import ROOT, MakeProject, prepare
from tests.docker.mesh import MESHLITE, Mesh

SLEEPER = {"command": ["sleep", "3600"], "expose": ["8000"]}

LASTING = (
    "nft ruleset",
    "our links",
    "our mounts",
    "processes",
    "our sockets",
    "listening ports",
    "daemon.json",
    "default runtime",
    "run folder",
    "hosts files",
    "rules in namespaces",
    "interfaces in namespaces",
)


@pytest.fixture
def shop(compose_project: MakeProject) -> ComposeProject:
    return compose_project({"services": {"web": SLEEPER, "db": SLEEPER}})


@pytest.fixture
def mesh(shop: ComposeProject, tmp_path: Path) -> Iterator[Mesh]:
    """The shop, not yet in the mesh; whatever a test does, the host is afterwards as it was."""
    before = host.facts()
    mesh = Mesh(shop, tmp_path / "state")
    try:
        yield mesh
    finally:
        done = mesh.run("down", "--all")
    assert done.returncode == 0, done.stderr
    for fact, value in host.facts().items():
        if fact in LASTING:
            assert own(value) == own(before[fact]), f"{fact} is not as it was before up"


def own(fact: object) -> object:
    """Without the processes of tests that run beside this one, over folders of their own."""
    if isinstance(fact, list):
        return [line for line in fact if "/tmp/ml-" not in str(line) and "/tmp/meshlite-" not in str(line)]
    return fact


def test_up_says_its_steps_and_can_be_repeated(mesh: Mesh) -> None:
    first = mesh.run("up", "-d", "-p", mesh.project.name)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(f"{mesh.project.name} is in the mesh")
    assert "✓ containers" in first.stderr
    assert "2 in the mesh" in first.stderr
    pids = {part: mesh.pid(part) for part in ("server", "agent", "envoy")}
    again = mesh.run("up", "-d", "-p", mesh.project.name)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("was running") == 2
    assert {part: mesh.pid(part) for part in pids} == pids


def test_the_project_is_that_of_the_folder(mesh: Mesh, tmp_path: Path) -> None:
    environ = {**os.environ, "MESHLITE_STATE_DIR": str(mesh.state), "COMPOSE_PROJECT_NAME": mesh.project.name}
    folder = mesh.project.file.parent

    def meshlite(verb: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(MESHLITE), verb, *options]
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=90)

    done = meshlite("up", "-d")
    assert done.returncode == 0, done.stderr
    status = json.loads(meshlite("status", "-o", "json").stdout)
    assert status["projects"] == [mesh.project.name]
    assert {service["name"] for service in status["services"]} >= {"web", "db"}
    assert meshlite("down").returncode == 0
    assert not Path("/run/meshlite").exists()


def test_up_without_a_project_says_what_to_do(mesh: Mesh, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(MESHLITE), "up", "-d"], cwd=tmp_path, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 1
    assert "-p PROJECT" in done.stderr
    assert not Path("/run/meshlite").exists()


def test_the_demo_ends_while_another_project_stays_in_the_mesh(
    mesh: Mesh, compose_project: MakeProject
) -> None:
    """Also a second time, when it is no longer in the mesh."""
    prepare("image", "demo")
    compose_project(ROOT / "compose" / "bookinfo.yaml", name="bookinfo")
    mesh("up", "-d", "-p", mesh.project.name, "-p", "bookinfo")
    environ = {**os.environ, "MESHLITE_STATE_DIR": str(mesh.state), "BIN": str(MESHLITE.parent)}
    for _ in range(2):
        command = ["make", "-C", str(ROOT), "demo-down", f"BIN={MESHLITE.parent}"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert mesh.status()["projects"] == [mesh.project.name]
        assert sum(workload["captured"] for workload in mesh.status()["workloads"]) == 2
    assert "leaving the Docker engine running" in done.stderr or "did not start it" in done.stderr
    assert host.output("docker", "ps", "-q", "-f", "label=com.docker.compose.project=bookinfo") == ""


def test_down_says_what_it_keeps_and_purge_deletes_it(mesh: Mesh) -> None:
    mesh.up()
    done = mesh.run("down", "--all")
    assert str(mesh.state) in done.stderr
    assert "--purge" in done.stderr
    assert mesh.run("down", "--all", "--purge").returncode == 0
    assert not mesh.state.exists()


@pytest.fixture
def other(compose_project: MakeProject) -> ComposeProject:
    return compose_project({"services": {"api": SLEEPER}})


def test_one_project_leaves_and_the_other_stays(other: ComposeProject, mesh: Mesh) -> None:
    mesh("up", "-d", "-p", mesh.project.name, "-p", other.name)
    envoy = mesh.pid("envoy")
    mesh("down", "-p", other.name)
    assert {workload["namespace"] for workload in mesh.status()["workloads"]} == {mesh.project.name}
    assert mesh.pid("envoy") == envoy
    pid = host.running()[f"/{other.name}-api-1"]
    mesh.eventually(lambda: "meshlite" not in host.rules(pid), "the rules are gone when nothing needs them")
    refused = mesh.run("down", "-p", "nosuch")
    assert refused.returncode == 1
    assert mesh.project.name in refused.stderr


@pytest.mark.parametrize(
    ("after", "number"),
    [
        ("Docker engine", signal.SIGTERM),
        ("server", signal.SIGINT),
        ("projects", signal.SIGTERM),
        ("node agent", signal.SIGHUP),
        ("runtime hook", signal.SIGINT),
    ],
)
def test_a_signal_on_the_way_up_takes_everything_down_too(
    mesh: Mesh, after: str, number: signal.Signals
) -> None:
    with attached(mesh) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if after in line:
                break
        up.send_signal(number)
        _, err = up.communicate(timeout=90)
    assert up.returncode == 0, err
    assert not Path("/run/meshlite").exists()


def test_a_closed_terminal_takes_everything_down(mesh: Mesh) -> None:
    terminal, other_end = os.openpty()
    with subprocess.Popen(
        [str(MESHLITE), "up", "-p", mesh.project.name],
        env={**os.environ, "MESHLITE_STATE_DIR": str(mesh.state), "TERM": "dumb"},
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as up:
        os.close(other_end)
        said = b""
        while b"Ctrl-C" not in said:
            said += os.read(terminal, 1000)
        os.close(terminal)
        assert up.wait(90) == 0
    assert not Path("/run/meshlite").exists()


def test_two_at_once_take_turns_and_make_one_mesh(mesh: Mesh) -> None:
    command = [str(MESHLITE), "up", "-d", "-p", mesh.project.name]
    environ = {**os.environ, "MESHLITE_STATE_DIR": str(mesh.state)}
    both = [subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [up.communicate(timeout=90)[1] for up in both]
    assert [up.returncode for up in both] == [0, 0], said
    assert sorted(text.count("was running") for text in said) == [0, 2]
    lines = [line for line in host.processes() if str(mesh.state) in line or "/run/meshlite/" in line]
    assert sum("meshlite.cli.supervisor" in line for line in lines) == 1
    assert sum(Path(line.split()[0]).name == "envoy" for line in lines) == 1


def test_down_while_up_is_at_work_waits_and_takes_everything_down(mesh: Mesh) -> None:
    with attached(mesh, "-d") as up:
        assert up.stderr is not None
        assert "Docker engine" in up.stderr.readline()
        down = mesh.run("down", "--all")
        _, err = up.communicate(timeout=90)
    assert up.returncode == 0, err
    assert down.returncode == 0, down.stderr
    assert not Path("/run/meshlite").exists()


def attached(mesh: Mesh, *options: str) -> subprocess.Popen[str]:
    """`meshlite up`, staying, with its words on stderr."""
    return subprocess.Popen(
        [str(MESHLITE), "up", "-p", mesh.project.name, *options],
        env={**os.environ, "MESHLITE_STATE_DIR": str(mesh.state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_attached_it_stays_until_a_signal_and_takes_everything_down(mesh: Mesh) -> None:
    with attached(mesh) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if "Ctrl-C" in line:
                break
        assert up.poll() is None
        assert mesh.status()["workloads"]
        up.send_signal(signal.SIGINT)
        _, err = up.communicate(timeout=60)
    assert up.returncode == 0, err
    assert "server stopped" in err
    assert not Path("/run/meshlite").exists()


@pytest.mark.parametrize("dead", [("server",), ("agent",), ("agent", "envoy"), ("server", "agent", "envoy")])
def test_down_with_dead_parts(mesh: Mesh, dead: tuple[str, ...]) -> None:
    mesh.up()
    mesh.kill(*dead)
    verbose = ("-v",) if len(dead) > 1 else ()
    done = mesh.run("down", "-p", mesh.project.name, *verbose)
    assert done.returncode == 0, done.stderr
    listed = [line for line in done.stderr.splitlines() if "network namespace" in line]
    if "agent" in dead:
        assert bool(listed) == bool(verbose), "what was swept is counted, and listed on request"
        assert bool(verbose) != ("down -v lists such" in done.stderr)
    # The fixture compares the host with what it was.


def test_down_where_nothing_runs_is_fine(mesh: Mesh) -> None:
    done = mesh.run("down")
    assert done.returncode == 0, done.stderr
    assert mesh.run("down", "--all", "--purge").returncode == 0


def test_up_after_a_crash_of_everything_on_a_host_that_was_renamed(mesh: Mesh) -> None:
    mesh.up()
    name = mesh.status()["node"]
    pids = [mesh.pid(part) for part in ("agent", "server", "envoy")]
    mesh.kill("agent", "server", "envoy")
    up = f"hostname renamed && exec {MESHLITE} up -d -p {mesh.project.name}"
    environ = {**os.environ, "MESHLITE_STATE_DIR": str(mesh.state)}
    subprocess.run(["unshare", "--uts", "sh", "-c", up], env=environ, check=True, timeout=90)
    assert mesh.status()["node"] == name
    assert mesh.status()["server"]["connected"]
    assert not set(pids) & {mesh.pid(part) for part in ("agent", "server", "envoy")}
    assert all(workload["captured"] for workload in mesh.status()["workloads"])


def test_resources_outlive_down_and_are_gone_after_purge(mesh: Mesh) -> None:
    mesh.up()
    mesh.apply(STRICT)
    mesh.down()
    mesh.up()
    listed = json.loads(mesh("get", "pa", "-o", "json"))
    assert [row["metadata"]["name"] for row in listed] == ["default"]
    mesh("down", "--all", "--purge")
    assert not mesh.state.exists()


def test_a_container_that_started_in_the_mesh_can_be_used_and_stopped_after_purge(mesh: Mesh) -> None:
    mesh.up()
    mesh.project.up("--scale", "web=2")
    mesh("down", "--all", "--purge")
    assert mesh.project.exec("web", "echo", "inside", index=2) == "inside"
    mesh.project.up("--scale", "web=1")


def test_the_proxys_verbs_show_what_it_was_told(mesh: Mesh) -> None:
    mesh.up()
    status = json.loads(mesh("proxy-status", "-o", "json"))
    assert status["proxy"]["state"] == "running"
    assert {"CDS", "EDS", "LDS", "RDS"} <= set(status["streams"][0]["types"])
    assert "synchronised" in mesh("proxy-status")
    for kind in ("listeners", "clusters", "routes", "endpoints", "secrets"):
        rows = json.loads(mesh("proxy-config", kind, "web", "-o", "json"))[kind]
        assert mesh("proxy-config", kind, "web").count("\n") == len(rows) + 1
    assert "for calls between hosts" in mesh.run("proxy-config", "secrets").stderr
    full = f"web.{mesh.project.name}.svc.cluster.local"
    assert mesh("proxy-config", "routes", full) == mesh("proxy-config", "routes", "web")
    assert "PRIVATE KEY" not in mesh("proxy-config", "all", "-o", "json")
    refused = mesh.run("proxy-config", "listeners", "nosuch")
    assert refused.returncode == 1
    assert "nosuch" in refused.stderr


def test_without_the_hook_daemon_json_is_not_touched(mesh: Mesh) -> None:
    before = host.facts()["daemon.json"]
    mesh.up("--no-hook")
    assert host.facts()["daemon.json"] == before
    assert "web" in mesh("status")


def test_the_tour_sees_what_it_should_and_leaves_no_rule(
    compose_project: MakeProject, tmp_path: Path
) -> None:
    prepare("image", "demo")
    bookinfo = compose_project(ROOT / "compose" / "bookinfo.yaml", environ={"BOOKINFO_LISTEN": "127.0.0.1:"})
    mesh = Mesh(bookinfo, tmp_path / "state")
    try:
        mesh.up()
        done = mesh.run("demo", "--json", "-p", bookinfo.name, timeout=180)
        assert done.returncode == 0, done.stderr + done.stdout
        value = json.loads(done.stdout)
        stops = [observation["stop"] for observation in value["observations"]]
        assert stops == ["traffic", "balance", "canary", "user", "fault", "strict", "undo"]
        assert all(observation["ok"] for observation in value["observations"]), value
        assert json.loads(mesh("get", "all", "-o", "json")) == []
        assert f"{bookinfo.name}-stranger" not in host.output("docker", "ps", "-a", "--format", "{{.Names}}")
    finally:
        mesh.down()


STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
"""
