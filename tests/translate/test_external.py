"""What is said of declared hosts and their endpoints, and what they leave as it was."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from meshlite.translate.translate import translate
from tests.translate import cases

WORKLOADS = [
    {"name": "client", "ports": [], "link": "169.254.1.1"},
    {"name": "db", "ports": ["tcp:5432"], "link": "169.254.1.2"},
]
FAR = "resolution: STATIC\nendpoints: [{address: 192.0.2.1}]"


def result(*resources: dict[str, Any]) -> dict[str, Any]:
    return cases.shown(translate(*cases.mesh({"workloads": WORKLOADS, "resources": list(resources)})))


def entry(host: str, port: str, spec: str = FAR, **metadata: Any) -> dict[str, Any]:
    return written("ServiceEntry", f"hosts: [{host!r}]\nports: [{{{port}}}]\n{spec}", **metadata)


def written(kind: str, spec: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {"name": "it", **metadata},
        "spec": yaml.safe_load(spec),
    }


@pytest.mark.parametrize(
    "port",
    [
        "number: 27017, name: m, protocol: MONGO",
        "number: 443, name: t, protocol: TLS",
        "number: 80, name: h, protocol: HTTP",
        "number: 3306, name: a",
    ],
)
def test_a_new_entry_changes_no_listener_in_a_way_that_drains_connections(port: str) -> None:
    before, after = (
        one["listeners"]["outbound/4000"] for one in (result(), result(entry("a.example.com", port)))
    )
    for of_chains in ("filter_chains", "filter_chain_matcher"):
        assert before.pop(of_chains) != after.pop(of_chains)
    assert before == after


def test_tls_by_name_alone_is_looked_at_even_on_a_port_that_was_not() -> None:
    wild = entry("*.example.com", "number: 5432, name: t, protocol: TLS", "resolution: NONE")
    filters = result(wild)["listeners"]["outbound/4000"]["listener_filters"]
    assert "'start': 5432" not in str(filters)
    assert "'start': 5432" in str(result()["listeners"]["outbound/4000"]["listener_filters"])


def test_a_name_behind_a_service_is_told_and_left_out() -> None:
    vm = written("WorkloadEntry", "address: vm.example.com\nlabels: {app: db}")
    found = result(vm)
    [problem] = found["problems"]
    assert problem.startswith("WorkloadEntry/shop/it: address vm.example.com is a name, for a ServiceEntry")
    assert "vm.example.com" not in str(found["endpoints"])
    chosen = entry(
        "vms.example.com",
        "number: 80, name: h, protocol: HTTP",
        "resolution: DNS\nworkloadSelector: {labels: {app: db}}",
    )
    found = result(vm, chosen)
    assert found["problems"] == []
    assert "vm.example.com" in str(found["clusters"]["outbound|80||vms.example.com"])


def test_a_service_of_the_mesh_stays_what_it_is() -> None:
    host = "db.shop.svc.cluster.local"
    found = result(entry(host, "number: 5432, name: t, protocol: TCP"))
    assert found["problems"] == [
        f"ServiceEntry/shop/it: host {host} is a service of the mesh in this namespace:"
        " the entry has no effect on it"
    ]
    assert "192.0.2.1" not in str(found["endpoints"])


def test_another_namespace_may_mean_something_else_by_a_services_name() -> None:
    host = "db.shop.svc.cluster.local"
    foreign = entry(host, "number: 5432, name: t, protocol: TCP", namespace="other")
    assert "192.0.2.1" not in str(result(foreign)["endpoints"])
    caller = {"name": "caller", "namespace": "other", "ports": [], "link": "169.254.1.3"}
    case = {"workloads": [*WORKLOADS, caller], "resources": [foreign]}
    found = cases.shown(translate(*cases.mesh(case)))
    assert "192.0.2.1" in str(found["endpoints"][f"outbound|5432||{host}|other"])
    assert "192.0.2.1" not in str(found["endpoints"][f"outbound|5432||{host}"])
