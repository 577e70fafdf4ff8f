"""How far capture has come, and what `status` makes of the parts' own accounts."""

from __future__ import annotations

from typing import Any

from meshlite.cli.engine import Container, meant
from meshlite.cli.readiness import capture_of
from meshlite.cli.verbs.status import summary


def container(name: str, project: str = "shop", **labels: str) -> Container:
    return Container(name * 12 + "f" * 52, name, project, name, "image", ("net",), labels)


def test_each_container_is_inside_outside_or_waited_for() -> None:
    containers = [container(name) for name in "abcd"]
    workloads: list[dict[str, Any]] = [
        {"id": "a" * 12 + "-1", "captured": True, "reason": ""},
        {"id": "b" * 12 + "-1", "captured": False, "reason": "it has no network"},
        {"id": "c" * 12 + "-1", "captured": False, "reason": ""},
    ]
    capture = capture_of(containers, workloads)
    assert (capture.inside, dict(capture.outside)) == (1, {"b": "it has no network"})
    assert capture.waiting == ("c", "d")


def test_which_containers_are_meant() -> None:
    job = container("j", **{"com.docker.compose.oneoff": "True"})
    opted_out = container("o", **{"meshlite.enable": "false"})
    foreign, invited = container("f", "other"), container("i", "other", **{"meshlite.enable": "true"})
    all_of_them = [container("a"), job, opted_out, foreign, invited]
    assert [c.name for c in meant(all_of_them, ["shop"], False)] == ["a", "i"]
    assert [c.name for c in meant(all_of_them, [], True)] == ["a", "f", "i"]


AGENT: dict[str, Any] = {
    "node": "n",
    "version": "1",
    "server": {"connected": True, "error": ""},
    "proxy": {"state": "running", "version": "1.40.0", "error": "", "restarts": 0},
    "workloads": [
        {"id": "a-1", "name": "a", "namespace": "shop", "captured": True, "reason": ""},
        {"id": "h-1", "name": "h", "namespace": "shop", "captured": False, "reason": "network_mode: host"},
    ],
    "problems": [{"resource": "VirtualService/shop/a", "reason": "no such host"}],
    "rejected": [{"resource": "outbound/x", "reason": "refused by Envoy"}],
}
HEALTH = {"status": "ok", "version": "1"}
NODES = {"nodes": [{"record": {"name": "n", "projects": ["shop"], "everything": False}, "status": AGENT}]}
DOWN = {"unreachable": "not running (socket: none)"}


def test_all_well() -> None:
    value = summary("n", HEALTH, {"services": []}, NODES, AGENT)
    assert value["healthy"]
    assert value["projects"] == ["shop"]
    assert [row["name"] for row in value["uncaptured"]] == ["h"]
    assert value["problems"] == [
        {"resource": "VirtualService/shop/a", "reason": "no such host"},
        {"resource": "outbound/x", "reason": "refused by Envoy"},
    ], "what server and agent both say is said once"


def test_with_the_server_down_the_agent_still_tells() -> None:
    value = summary("n", DOWN, DOWN, DOWN, AGENT | {"server": {"connected": False, "error": "refused"}})
    states = {part["name"]: (part["state"], part["healthy"]) for part in value["parts"]}
    assert states == {"server": ("down", False), "agent": ("cut off", False), "proxy": ("running", True)}
    assert [row["name"] for row in value["uncaptured"]] == ["h"]


def test_a_proxy_that_keeps_failing_says_why() -> None:
    broken = {"state": "backing-off", "version": "", "error": "it ended with signal 11", "restarts": 4}
    value = summary("n", HEALTH, {"services": []}, NODES, AGENT | {"proxy": broken})
    proxy = value["parts"][2]
    assert not value["healthy"]
    assert (proxy["state"], proxy["detail"]) == ("backing-off", "it ended with signal 11")
