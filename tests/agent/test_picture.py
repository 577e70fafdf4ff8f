"""What follows from what was published: names for hosts files, ports behind one address, problems."""

from __future__ import annotations

from meshlite.agent.capture import Attached
from meshlite.agent.picture import Picture
from meshlite.model.mesh import Problem, Service, Snapshot
from meshlite.model.workload import Found, NetworkNamespace, Workload
from meshlite.translate.node import Attachment, NodeView

NETWORK6 = "fd6d:6c00::/96"
WEB = Service(name="web", namespace="shop", address="240.240.0.7")


def found(name: str, space: str, doubt: str = "", **bound: str) -> Found:
    workload = Workload(id=name, node="n", name=name, service=name, namespace="shop")
    ports = {int(port.removeprefix("p")): address for port, address in bound.items()}
    namespace = NetworkNamespace(key=space, path=f"/{space}")
    return Found(workload=workload, namespace=namespace, bound=ports, doubt=doubt)


def attached(key: str, space: str) -> Attached:
    return Attached(key, space, 1, f"/{space}", "169.254.1.1", "ml-x")


PICTURE = Picture(
    snapshot=Snapshot(services=(WEB,)),
    view=NodeView("n", (Attachment("a", "/1", "", "a", ("a", "b")), Attachment("c", "/2", "", "c", ("c",)))),
    found=(found("a", "1", p80="10.0.0.1"), found("b", "1", p81="10.0.0.2"), found("c", "2")),
)


def test_names_are_for_each_attachment_and_ipv6_for_those_that_have_it() -> None:
    names = PICTURE.names({"c"}, NETWORK6)
    assert set(names) == {"a", "c"}
    assert set(names["a"]) == {"240.240.0.7"}
    assert set(names["c"]) == {"240.240.0.7", "fd6d:6c00::f0f0:7"}
    assert names["a"]["240.240.0.7"][0] == "web"


def test_ports_of_all_who_live_in_a_namespace_are_its_ports() -> None:
    assert PICTURE.bound(attached("a", "1")) == {80: "10.0.0.1", 81: "10.0.0.2"}
    assert PICTURE.bound(attached("c", "2")) == {}


def test_what_containers_outside_say_wrong_of_themselves_is_a_problem_too() -> None:
    running = (*PICTURE.found, found("d", "3", doubt="label meshlite.enable: 'ture'"))
    assert PICTURE.problems(running) == (Problem(resource="d", reason="label meshlite.enable: 'ture'"),)
    broken = Picture(problem="translating failed")
    assert broken.problems(()) == (Problem(resource="agent", reason="translating failed"),)
