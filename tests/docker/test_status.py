"""`meshlite status` tells the truth of containers that are unlike the others, and forgets those that went."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker.compose import ComposeProject
from tests.docker.conftest import compose_file
from tests.docker.mesh import Mesh, meshed

SLEEPER = {"command": ["sleep", "3600"]}
STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
"""
BROKEN = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {app: web}
  servers: [{port: {number: 15006, name: http, protocol: HTTP}, hosts: ["*"]}]
"""


def server(port: int) -> dict[str, object]:
    return {"command": ["python3", "-m", "http.server", str(port)]}


SERVICES = {
    "web": server(8080),
    "side": {**server(9200), "network_mode": "service:web", "depends_on": ["web"]},
    "hostly": {**SLEEPER, "network_mode": "host", "expose": ["18999"]},
    "lonely": {**SLEEPER, "network_mode": "none", "expose": ["80"]},
    "worker": SLEEPER,
    "odd": {**server(8081), "labels": {"meshlite.ports": "abc", "meshlite.prots": "80"}},
}


@pytest.fixture(scope="module")
def mesh(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """With services that are forgotten 3 s after their last container."""
    folder = tmp_path_factory.mktemp("status")
    project = ComposeProject("mlstatus", compose_file({"services": SERVICES}, image, folder / "project"))
    with meshed(Mesh(project, folder / "state", {"MESHLITE_SERVICE_LINGER_SECONDS": "3"})) as mesh:
        yield mesh


def asked(mesh: Mesh, url: str) -> bool:
    return mesh.project.curl("worker", url)[0] == 200


def status(mesh: Mesh) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(mesh("status", "-o", "json"))
    return value


def services(mesh: Mesh) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in status(mesh)["services"]}


def test_ready_is_who_gets_calls(mesh: Mesh) -> None:
    wanted = {"web": (1, 1), "side": (1, 1), "hostly": (1, 1), "lonely": (0, 1), "worker": (0, 1)}
    mesh.eventually(
        lambda: (
            wanted.items()
            <= {name: (row["ready"], row["total"]) for name, row in services(mesh).items()}.items()
        ),
        "what is ready",
        60,
    )
    assert services(mesh)["worker"]["ports"] == []
    table = {line.split()[1]: line for line in mesh("status").splitlines() if " 240.240." in line}
    assert "no port" in table["worker"]
    assert "0/1" in table["lonely"]


def test_a_container_in_anothers_network_is_called_by_its_own_name_and_by_the_others(mesh: Mesh) -> None:
    for url in ("http://side:9200/", "http://web:9200/", "http://web:8080/"):
        mesh.eventually(functools.partial(asked, mesh, url), url, 60)
    assert services(mesh)["side"]["ports"] == [9200]


def test_strict_is_said_of_those_whom_it_holds_for(mesh: Mesh) -> None:
    mesh("apply", "-n", mesh.project.name, "-f", "-", stdin=STRICT)
    modes = {
        "web": "STRICT",
        "side": "STRICT",
        "worker": "STRICT",
        "hostly": "PERMISSIVE",
        "lonely": "PERMISSIVE",
    }
    mesh.eventually(
        lambda: modes.items() <= {name: row["mode"] for name, row in services(mesh).items()}.items(),
        "what holds",
        60,
    )
    reasons = {row["resource"]: row["reason"] for row in status(mesh)["problems"]}
    assert "STRICT does not hold for mlstatus-hostly-1" in reasons["hostly.mlstatus"]
    mesh.delete("PeerAuthentication", "default")


def test_labels_that_make_no_sense_are_said_with_their_containers_name(mesh: Mesh) -> None:
    reasons = {row["resource"]: row["reason"] for row in status(mesh)["problems"]}
    assert "label meshlite.ports: 'abc'" in reasons["mlstatus-odd-1"]
    assert "did you mean ports?" in reasons["mlstatus-odd-1"]


def test_a_problem_is_gone_with_its_cause(mesh: Mesh) -> None:
    """In `status`, which asks this host's agent, before the verb that took the cause away has a successor."""

    def told() -> list[str]:
        return [row["resource"] for row in status(mesh)["problems"] if row["resource"].startswith("Gateway/")]

    mesh("apply", "-n", mesh.project.name, "-f", "-", stdin=BROKEN)
    mesh.eventually(lambda: told() == ["Gateway/mlstatus/edge"], "the problem", 60)
    mesh("delete", "Gateway", "edge", "-n", mesh.project.name)
    mesh.eventually(lambda: told() == [], "its end", 60)


def test_a_service_is_forgotten_some_time_after_its_last_container(mesh: Mesh) -> None:
    address = services(mesh)["odd"]["address"]
    mesh.project.compose("rm", "-fs", "odd")
    mesh.eventually(lambda: "odd" not in services(mesh), "it is forgotten", 60)
    hosts = Path("/etc/hosts")
    mesh.eventually(lambda: " odd" not in mesh.project.exec("worker", "cat", str(hosts)), "its name too", 60)
    mesh.project.up()
    mesh.eventually(lambda: services(mesh).get("odd", {}).get("address") == address, "it is back", 60)
    mesh.eventually(lambda: asked(mesh, "http://odd:8081/"), "it answers", 60)


def test_another_root_reaches_the_proxy_and_what_it_signs_replaces_all(mesh: Mesh) -> None:
    """The steps wait for this node's agent and proxy; calls go on."""
    before = {row["serial"] for row in json.loads(mesh("certs", "-o", "json"))}
    mesh("ca", "rotate", timeout=300)
    value = json.loads(mesh("ca", "show", "-o", "json"))
    signer = value["signing"]["sha256"]
    assert value["phase"] == "steady"
    assert status(mesh)["healthy"]
    rows = json.loads(mesh("certs", "-o", "json"))
    assert {row["signer"] for row in rows} == {signer}
    assert not before & {row["serial"] for row in rows}
    assert asked(mesh, "http://web:8080/")
