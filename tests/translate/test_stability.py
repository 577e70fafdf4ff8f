"""Unchanged meaning gives unchanged bytes, and a change touches only what it is about."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshlite.model.mesh import Snapshot
from meshlite.translate.envoy import schema
from meshlite.translate.translate import Translator, translate
from meshlite.translate.translation import Translation
from tests.translate import cases

FOLDER = Path(__file__).parent / "testdata"
CASES = sorted(FOLDER.glob("*.in.yaml"))


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_order_of_input_does_not_matter(data: st.DataObject) -> None:
    snapshot, node = cases.mesh(cases.load(data.draw(st.sampled_from(CASES))))
    shuffled = snapshot.model_copy(
        update={
            name: tuple(data.draw(st.permutations(getattr(snapshot, name))))
            for name in ("services", "workloads", "resources")
        }
    )
    turned = replace(node, attachments=tuple(data.draw(st.permutations(node.attachments))))
    assert translate(shuffled, turned) == translate(snapshot, node)


@given(steps=st.lists(st.tuples(st.sampled_from(CASES), st.integers(0, 6)), min_size=2, max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_translator_that_remembers_gives_the_same_as_one_that_does_not(
    steps: list[tuple[Path, int]],
) -> None:
    translator = Translator()
    for path, dropped in steps:
        case = cases.load(path)
        case["workloads"] = case["workloads"][dropped % 3 :]
        case["resources"] = case["resources"][dropped % 2 :]
        snapshot, node = cases.mesh(case)
        assert translator.translate(snapshot, node) == translate(snapshot, node)


@pytest.fixture
def bookinfo() -> dict[str, Any]:
    return cases.load(FOLDER / "bookinfo.in.yaml")


def changed(before: Translation, after: Translation) -> dict[str, set[str]]:
    """Names of resources that are new, gone or different, by the short name of their type."""
    found: dict[str, set[str]] = {}
    for type_url, one in before.resources.items():
        other = after.resources[type_url]
        names = {name for name in {*one, *other} if one.get(name) != other.get(name)}
        if names:
            found[type_url.rpartition(".")[2]] = names
    return found


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, set[str]]:
    return changed(*(translate(*cases.mesh(case)) for case in (before, after)))


def test_a_replica_that_restarts_in_place_changes_nothing_for_anyone_else(bookinfo: dict[str, Any]) -> None:
    after = copy.deepcopy(bookinfo)
    after["workloads"][1] |= {"id": "details-again", "link": "169.254.1.99"}
    assert difference(bookinfo, after) == {
        "ClusterLoadAssignment": {
            "outbound|9080||details.shop.svc.cluster.local",
            "outbound|9080|@details|details.shop.svc.cluster.local",
        }
    }


def test_a_replica_that_is_not_ready_leaves_its_service_only(bookinfo: dict[str, Any]) -> None:
    after = copy.deepcopy(bookinfo)
    after["workloads"][4]["health"] = "draining"
    assert difference(bookinfo, after) == {
        "ClusterLoadAssignment": {
            "outbound|9080||reviews.shop.svc.cluster.local",
            "outbound|9080|v2|reviews.shop.svc.cluster.local",
        }
    }


def test_a_service_whose_only_replica_is_down_keeps_its_ports(bookinfo: dict[str, Any]) -> None:
    snapshot, node = cases.mesh(bookinfo)
    details = snapshot.workloads_by_service["details.shop.svc.cluster.local"]
    services = tuple(
        service.model_copy(update={"ports": details[0].ports}) if service.name == "details" else service
        for service in snapshot.services
    )
    up = snapshot.model_copy(update={"services": services})
    down = up.model_copy(update={"workloads": tuple(w for w in up.workloads if w not in details)})
    stays = {"outbound|9080||details.shop.svc.cluster.local"}
    found = changed(translate(up, node), translate(down, node))
    assert found["ClusterLoadAssignment"] >= stays
    assert not stays & found.get("Cluster", set())


def test_a_changed_route_changes_one_table(bookinfo: dict[str, Any]) -> None:
    after = copy.deepcopy(bookinfo)
    after["resources"][1]["spec"]["http"][1]["route"][0]["weight"] = 50
    assert difference(bookinfo, after) == {"RouteConfiguration": {"9080/shop"}}


def test_a_changed_policy_changes_the_clusters_of_its_service(bookinfo: dict[str, Any]) -> None:
    after = copy.deepcopy(bookinfo)
    after["resources"][0]["spec"]["trafficPolicy"] = {"connectionPool": {"tcp": {"maxConnections": 1}}}
    found = difference(bookinfo, after)
    assert set(found) == {"Cluster"}
    assert all(name.endswith("|reviews.shop.svc.cluster.local") for name in found["Cluster"])


@pytest.mark.parametrize(
    "newcomer",
    [
        {"name": "late", "ports": [9080], "link": "169.254.1.50", "addresses": ["172.18.0.50"]},
        {"name": "late", "ports": ["http:8080"], "link": "169.254.1.50", "addresses": ["172.18.0.50"]},
        {"name": "late", "ports": ["mysql:3306"], "link": "169.254.1.50", "addresses": ["172.18.0.50"]},
    ],
    ids=["detected", "http on a new port", "server first"],
)
def test_a_new_service_drains_no_connection(bookinfo: dict[str, Any], newcomer: dict[str, Any]) -> None:
    """Listeners differ in added chains and in how one is chosen: Envoy updates that in place."""
    after = copy.deepcopy(bookinfo)
    after["workloads"].append(newcomer)
    old, new = (translate(*cases.mesh(case)).resources[schema.LISTENER] for case in (bookinfo, after))
    for name, encoded in old.items():
        before, now = (schema.decode(schema.LISTENER, body) for body in (encoded.body, new[name].body))
        assert _chains(before).items() <= _chains(now).items()
        assert before == now


def _chains(listener: dict[str, Any]) -> Mapping[str, str]:
    """Takes the chains and their choice out of a listener."""
    listener.pop("filter_chain_matcher")
    return {chain["name"]: repr(chain) for chain in listener.pop("filter_chains")}


def test_versions_follow_the_bytes(bookinfo: dict[str, Any]) -> None:
    one, two = (translate(*cases.mesh(bookinfo)) for _ in range(2))
    versions = [encoded.version for named in one.resources.values() for encoded in named.values()]
    assert one == two
    assert len(set(versions)) == len(versions)


def test_an_empty_mesh_has_every_type() -> None:
    found = translate(Snapshot(), cases.mesh({"workloads": []})[1])
    assert {type_url: len(named) for type_url, named in found.resources.items()} == {
        schema.CLUSTER: 3,
        schema.ENDPOINTS: 0,
        schema.LISTENER: 0,
        schema.ROUTES: 0,
    }
