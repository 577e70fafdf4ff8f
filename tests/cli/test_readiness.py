"""How far capture has come, and what `status` makes of the parts' own accounts."""

from __future__ import annotations

from typing import Any

from meshlite.cli import services
from meshlite.cli.engine import Container, meant
from meshlite.cli.readiness import capture_of
from meshlite.cli.verbs.status import summary, summary_elsewhere


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
RECORD = {"name": "n", "projects": ["shop"], "everything": False}
NODES: dict[str, Any] = {"nodes": [{"record": RECORD, "alive": True, "status": AGENT}]}
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


def test_this_hosts_agent_knows_first_what_is_no_problem_any_more_and_the_dead_have_none() -> None:
    dead = {"record": RECORD | {"name": "m"}, "alive": False, "status": AGENT}
    nodes = {"nodes": [*NODES["nodes"], dead]}
    now = AGENT | {"problems": [], "rejected": []}
    assert summary("n", HEALTH, {"services": []}, nodes, now)["problems"] == []
    assert len(summary("n", HEALTH, {"services": []}, nodes, {"unreachable": "gone"})["problems"]) == 2


def view(*endpoints: dict[str, Any], ports: list[int]) -> dict[str, Any]:
    shape = {"namespace": "shop", "name": "web", "address": "240.240.0.1", "mode": "STRICT", "problems": []}
    shape |= {"declared_by": [], "resolution": ""}
    return shape | {"ports": [{"number": port} for port in ports], "endpoints": list(endpoints)}


def test_what_a_captured_container_says_wrong_is_a_problem_by_its_name() -> None:
    odd = AGENT["workloads"][0] | {"reason": "label meshlite.ports: 'abc': expected <protocol>:<port>"}
    end = odd | {"workload": "a-1", "node": "n", "ready": True}
    for views, workloads in (([view(end, ports=[80])], []), ([], [odd])):
        agent = AGENT | {"problems": [], "rejected": [], "workloads": workloads}
        value = summary("n", HEALTH, {"services": views}, NODES, agent)
        assert value["problems"] == [{"resource": "a", "reason": odd["reason"]}]
        assert value["uncaptured"] == []


def test_who_only_calls_others_is_not_counted_as_ready() -> None:
    end = {"workload": "w", "name": "w", "node": "n", "captured": True, "reason": "", "ready": False}
    (row,) = summary("n", HEALTH, {"services": [view(end, ports=[])]}, NODES, AGENT)["services"]
    assert (row["ready"], row["total"], row["ports"]) == (0, 1, [])
    assert "no port" in services.ready(row, 0, 1)
    assert "0/1" in services.ready(row | {"ports": [80]}, 0, 1)


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


def test_a_server_elsewhere_is_judged_by_what_it_says_of_its_nodes() -> None:
    def node(name: str, alive: bool, state: str) -> dict[str, Any]:
        told = AGENT | {"node": name, "proxy": {"state": state, "version": "1.40"}}
        record = RECORD | {"name": name, "projects": [f"of-{name}"]}
        return {"record": record, "joined": True, "alive": alive, "status": told}

    def judged(*nodes: dict[str, Any]) -> dict[str, Any]:
        return summary_elsewhere(HEALTH, {"services": []}, {"nodes": list(nodes)})

    value = judged(node("a", True, "running"), node("b", True, "running"))
    assert value["healthy"]
    assert value["projects"] == ["of-a", "of-b"]
    value = judged(node("a", True, "failed"), node("b", False, "running"))
    assert [part["name"] for part in value["parts"] if not part["healthy"]] == ["proxy a", "agent b"]
    assert not summary_elsewhere({"unreachable": "x"}, {"unreachable": "x"}, {"unreachable": "x"})["healthy"]
