"""A translation that remembers is the same as a fresh one, and makes anew only what a change is about."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshlite.model.mesh import Snapshot
from meshlite.translate.translate import Translator, translate
from meshlite.translate.translation import Translation
from tests.translate import cases

FOLDER = Path(__file__).parent / "testdata"
BOOKINFO = cases.load(FOLDER / "bookinfo.in.yaml")
Case = dict[str, Any]

NAMES = ("details", "ratings", "reviews", "late", "*.shop.svc.cluster.local", "example.com")


def _virtual_service(name: str, data: st.DataObject) -> Case:
    route: Case = {"destination": {"host": data.draw(st.sampled_from(NAMES[:4]))}}
    if data.draw(st.booleans()):
        route["destination"]["subset"] = data.draw(st.sampled_from(("v1", "v2")))
    rule: Case = {"route": [route]}
    if data.draw(st.booleans()):
        rule["match"] = [{"sourceLabels": {"app": data.draw(st.sampled_from(("reviews", "ratings")))}}]
    spec: Case = {"hosts": [data.draw(st.sampled_from(NAMES))], "http": [rule]}
    if data.draw(st.booleans()):
        spec["exportTo"] = [data.draw(st.sampled_from((".", "*")))]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": data.draw(st.sampled_from(("shop", "meshlite-system")))},
        "spec": spec,
    }


def _destination_rule(name: str, data: st.DataObject) -> Case:
    spec: Case = {
        "host": data.draw(st.sampled_from(NAMES[:5])),
        "subsets": [{"name": "v1", "labels": {"version": data.draw(st.sampled_from(("v1", "v2")))}}],
    }
    if data.draw(st.booleans()):
        spec["workloadSelector"] = {"matchLabels": {"app": "reviews"}}
    if data.draw(st.booleans()):
        spec["trafficPolicy"] = {
            "loadBalancer": {"simple": data.draw(st.sampled_from(("RANDOM", "ROUND_ROBIN")))}
        }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": name, "namespace": data.draw(st.sampled_from(("shop", "meshlite-system")))},
        "spec": spec,
    }


def _resource(case: Case, data: st.DataObject) -> None:
    """A resource is applied: a new one, or in place of one."""
    name = data.draw(st.sampled_from(("one", "two")))
    made = data.draw(st.sampled_from((_virtual_service, _destination_rule)))(name, data)
    same = [place for place, one in enumerate(case["resources"]) if _key(one) == _key(made)]
    if same:
        case["resources"][same[0]] = made
    else:
        case["resources"].append(made)


def _key(document: Case) -> tuple[str, str, str]:
    meta = document["metadata"]
    return document["kind"], meta["name"], meta.get("namespace", "shop")


def _without(case: Case, data: st.DataObject) -> None:
    """A resource or a workload is gone."""
    listed = case[data.draw(st.sampled_from(("resources", "workloads")))]
    if len(listed) > 1:
        listed.pop(data.draw(st.integers(0, len(listed) - 1)))


def _workload(case: Case, data: st.DataObject) -> None:
    """A workload is another: its health, address, port, label, link or alias."""
    place = data.draw(st.integers(0, len(case["workloads"]) - 1))
    case["workloads"][place] |= data.draw(
        st.sampled_from(
            (
                {"health": "draining"},
                {"health": "healthy"},
                {"link": "169.254.9.9"},
                {"addresses": ["172.18.9.9"]},
                {"ports": ["http:9080"]},
                {"ports": ["tcp:3306", "9080"]},
                {"labels": {"version": "v2"}},
                {"aliases": ["late", "details"]},
                {"id": "again"},
            )
        )
    )


def _newcomer(case: Case, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(("late", "later")))
    if all(one["name"] != name for one in case["workloads"]):
        case["workloads"].append({"name": name, "ports": ["9080"], "addresses": ["172.18.0.77"]})


EDITS: tuple[Callable[[Case, st.DataObject], None], ...] = (_resource, _without, _workload, _newcomer)


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_series_of_edits_ends_in_what_a_fresh_translation_says(data: st.DataObject) -> None:
    case, translator = copy.deepcopy(BOOKINFO), Translator()
    translator.translate(*cases.mesh(case))
    for edit in data.draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=8)):
        edit(case, data)
        snapshot, node = cases.mesh(case)
        remembered, fresh = translator.translate(snapshot, node), translate(snapshot, node)
        assert remembered == fresh
        for type_url, named in fresh.resources.items():
            assert list(remembered.resources[type_url]) == list(named)


@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nor_does_it_matter_what_the_node_was_like(data: st.DataObject) -> None:
    snapshot, node = cases.mesh(copy.deepcopy(BOOKINFO))
    translator = Translator()
    for kept in data.draw(st.lists(st.sets(st.sampled_from(node.attachments)), min_size=2, max_size=4)):
        view = replace(node, attachments=tuple(sorted(kept, key=lambda one: one.key)), mark=len(kept))
        assert translator.translate(snapshot, view) == translate(snapshot, view)


def _both(change: Callable[[Snapshot], Snapshot]) -> tuple[Translation, Translation]:
    """A translation, and that by the same translator after a change."""
    snapshot, node = cases.mesh(copy.deepcopy(BOOKINFO))
    translator = Translator()
    return translator.translate(snapshot, node), translator.translate(change(snapshot), node)


def _made_anew(before: Translation, after: Translation) -> dict[str, set[str]]:
    """Resources of each type that are not the very same object; a type is left out where its mapping is."""
    return {
        type_url.rpartition(".")[2]: {
            name for name in named if before.resources[type_url].get(name) is not named[name]
        }
        for type_url, named in after.resources.items()
        if before.resources[type_url] is not named
    }


def test_one_changed_endpoint_is_about_endpoints_alone() -> None:
    def away(snapshot: Snapshot) -> Snapshot:
        workloads = tuple(
            one.model_copy(update={"health": "unhealthy"}) if one.name == "reviews-v2" else one
            for one in snapshot.workloads
        )
        assert workloads != snapshot.workloads
        return snapshot.model_copy(update={"workloads": workloads})

    assert _made_anew(*_both(away)) == {
        "ClusterLoadAssignment": {
            "outbound|9080||reviews.shop.svc.cluster.local",
            "outbound|9080|v2|reviews.shop.svc.cluster.local",
        }
    }


def test_one_changed_route_is_about_its_table_alone() -> None:
    def other(snapshot: Snapshot) -> Snapshot:
        changed = copy.deepcopy(snapshot.resources[1].spec)
        changed["http"][1]["route"][0]["weight"] = 50  # type: ignore[index]
        route = snapshot.resources[1].model_copy(update={"spec": changed, "generation": 2})
        return snapshot.model_copy(
            update={"resources": tuple(route if one.key == route.key else one for one in snapshot.resources)}
        )

    assert _made_anew(*_both(other)) == {"RouteConfiguration": {"9080/shop"}}


def test_nothing_changed_is_about_nothing() -> None:
    assert _made_anew(*_both(lambda snapshot: snapshot.model_copy(deep=True))) == {}
