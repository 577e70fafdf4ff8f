"""What the ADS state machine tells Envoy, as scripts."""

from __future__ import annotations

import pytest

from meshlite.agent import ads
from tests.agent.playbook import CDS, EDS, LDS, RDS, SDS, Playbook, ack, ask, nack, publish, push, wait

MESH = {
    "CDS": {"reviews": 1, "ratings": 1},
    "EDS": {"reviews": 1, "ratings": 1},
    "LDS": {"outbound/a": 1},
    "RDS": {"9080/shop": 1},
    "SDS": {"ROOTCA": 1},
}


def started() -> Playbook:
    """An Envoy that has everything of MESH but the secret."""
    play = Playbook(**MESH)
    play >> ask(CDS) << push(CDS, "reviews", "ratings")
    play >> ask(EDS, "reviews", "ratings") << push(EDS, "reviews", "ratings")
    play >> ack()
    play >> ask(LDS) << push(LDS, "outbound/a")
    play >> ask(RDS, "9080/shop") << push(RDS, "9080/shop")
    return play >> ack()


def changed(**types: dict[str, object]) -> dict[str, dict[str, object]]:
    return {short: MESH[short] | types.get(short, {}) for short in MESH}


def test_first_start_gets_what_it_asks_for() -> None:
    assert started().done().settled


def test_an_empty_mesh_is_answered_so_that_envoy_starts_at_once() -> None:
    play = Playbook() >> ask(CDS) << push(CDS) >> ack() >> ask(LDS) << push(LDS) >> ack()
    assert play.done().settled


def test_one_change_sends_one_resource() -> None:
    play = started() >> publish(**changed(EDS={"reviews": 2})) << push(EDS, "reviews")
    play >> ack()
    play.done()


def test_the_same_configuration_sends_nothing() -> None:
    (started() >> publish(**MESH)).done()


def test_push_order_is_references_last() -> None:
    play = started() >> ask(SDS, "ROOTCA") << push(SDS, "ROOTCA")
    play >> publish(**{short: dict.fromkeys(names, 2) for short, names in MESH.items()})
    play << push(CDS, "ratings", "reviews") << push(EDS, "ratings", "reviews") << push(SDS, "ROOTCA")
    play >> ack() << push(LDS, "outbound/a") << push(RDS, "9080/shop")
    play.done()


def test_routes_wait_for_their_clusters_but_not_for_ever() -> None:
    play = started() >> publish(**changed(CDS={"slow": 1}, RDS={"9080/shop": 2})) << push(CDS, "slow")
    play >> wait(ads.HOLD_SECONDS / 2)
    assert not play.done().settled
    play >> wait(ads.HOLD_SECONDS) << push(RDS, "9080/shop")
    play >> ack()
    assert play.done().settled


def test_what_envoy_asks_for_is_answered_also_while_clusters_are_on_their_way() -> None:
    play = started() >> publish(**changed(CDS={"new": 1}, RDS={"8080/shop": 1})) << push(CDS, "new")
    play >> ask(RDS, "8080/shop") << push(RDS, "8080/shop")
    play >> ack()
    assert play.done().settled


def test_a_changed_cluster_is_followed_by_its_endpoints() -> None:
    play = started() >> publish(**changed(CDS={"reviews": 2}))
    play << push(CDS, "reviews") << push(EDS, "reviews")
    play.done()


def test_a_new_cluster_waits_for_envoy_to_ask_for_its_endpoints() -> None:
    play = started() >> publish(**changed(CDS={"new": 1}, EDS={"new": 1})) << push(CDS, "new")
    play >> ask(EDS, "new") << push(EDS, "new")
    play.done()


def test_endpoints_that_do_not_exist_are_said_to_be_absent_and_sent_when_they_come() -> None:
    play = started() >> ask(EDS, "ghost") << push(EDS, removed=("ghost",)) >> ack()
    play >> publish(**changed(EDS={"ghost": 1})) << push(EDS, "ghost")
    play.done()


@pytest.mark.parametrize("kind", [RDS, SDS])
def test_routes_and_secrets_that_do_not_exist_stay_asked_for(kind: str) -> None:
    play = started() >> ask(kind, "later") >> publish(**changed(RDS={"later": 1}, SDS={"later": 1}))
    play << push(kind, "later")
    play.done()


def test_while_envoy_works_on_listeners_it_is_not_sent_more_of_them_but_then_the_newest() -> None:
    play = started() >> publish(**changed(LDS={"outbound/a": 2})) << push(LDS, "outbound/a")
    play >> publish(**changed(LDS={"outbound/a": 3}))
    play >> publish(**changed(LDS={"outbound/a": 4}, RDS={"9080/shop": 2})) << push(RDS, "9080/shop")
    assert not play.done().settled
    play >> ack() << push(LDS, "outbound/a")
    play >> ack()
    assert play.done().settled


def test_new_listeners_go_ahead_of_those_that_change() -> None:
    play = started() >> publish(**changed(LDS={"outbound/a": 2, "outbound/new": 1}))
    play << push(LDS, "outbound/new")
    play >> ack() << push(LDS, "outbound/a")
    play >> ack()
    assert play.done().settled


def test_those_that_change_have_their_turn_while_new_ones_come_and_come() -> None:
    play = started() >> publish(**changed(LDS={"outbound/a": 2, "one": 1})) << push(LDS, "one")
    play >> publish(**changed(LDS={"outbound/a": 2, "one": 1, "two": 1}))
    play >> ack() << push(LDS, "outbound/a", "two")
    play >> ack()
    assert play.done().settled


def test_a_listener_goes_at_once_a_cluster_when_all_is_quiet() -> None:
    play = started() >> publish(CDS={"ratings": 1}, EDS={"ratings": 1}, RDS=MESH["RDS"])
    play << push(LDS, removed=("outbound/a",))
    play >> wait(10)  # not acknowledged yet: routes may still be on their way
    play >> ack() >> wait(ads.QUIET_SECONDS / 2)
    play >> wait(ads.QUIET_SECONDS) << push(CDS, removed=("reviews",))
    play >> ask(EDS, drop=("reviews",)) >> ack() >> wait(10)
    play.done()


def test_endpoints_of_a_cluster_that_stays_are_removed_late_too() -> None:
    play = started() >> publish(**changed() | {"EDS": {"ratings": 1}})
    play >> wait(1) << push(EDS, removed=("reviews",)) >> ack() >> wait(10)
    play.done()


def test_a_cluster_that_comes_back_is_sent_with_endpoints_when_asked_again() -> None:
    play = started() >> publish(**changed() | {"CDS": {"ratings": 1}, "EDS": {"ratings": 1}})
    play >> wait(1) << push(CDS, removed=("reviews",)) >> ask(EDS, drop=("reviews",)) >> ack()
    play >> publish(**MESH) << push(CDS, "reviews") >> ask(EDS, "reviews") << push(EDS, "reviews")
    play.done()


def test_reconnecting_with_the_same_versions_resends_only_endpoints() -> None:
    play = Playbook(**MESH)
    play >> ask(CDS, have=MESH["CDS"])
    play >> ask(EDS, "reviews", "ratings", have=MESH["EDS"]) << push(EDS, "reviews", "ratings")
    play >> ask(LDS, have=MESH["LDS"]) >> ask(RDS, "9080/shop", have=MESH["RDS"])
    play.done()


def test_reconnecting_brings_what_changed_and_went_meanwhile() -> None:
    play = Playbook(**MESH)
    play >> ask(CDS, have={"reviews": 0, "gone": 1, "ratings": 1}) << push(CDS, "reviews")
    play >> ask(LDS, have={"outbound/gone": 1}) << push(LDS, "outbound/a", removed=("outbound/gone",))
    play >> ask(RDS, "9080/shop", have={"9080/shop": 0}) << push(RDS, "9080/shop")
    play >> ack() >> wait(1) << push(CDS, removed=("gone",))
    play.done()


def test_a_refused_response_is_taken_apart_and_only_the_bad_resource_is_reported() -> None:
    play = started() >> publish(**changed(CDS={"reviews": 2, "ratings": 2}))
    play << push(CDS, "ratings", "reviews") << push(EDS, "ratings", "reviews")
    play >> nack("Proto constraint validation failed")
    play << push(CDS, "ratings") << push(EDS, "ratings") << push(CDS, "reviews") << push(EDS, "reviews")
    play >> nack("ConnectTimeout: must be greater than 0", which=3) >> ack()
    stream = play.done()
    assert {(r.name, r.reason) for r in stream.rejected.values()} == {
        ("reviews", "ConnectTimeout: must be greater than 0")
    }
    assert stream.settled


def test_a_refused_version_is_not_sent_again_until_it_changes() -> None:
    bad = changed(LDS={"outbound/a": 2})
    play = started() >> publish(**bad) << push(LDS, "outbound/a") >> nack("unknown filter")
    play >> publish(**bad) >> wait(60)
    assert len(play.done().rejected) == 1
    play >> publish(**changed(LDS={"outbound/a": 3})) << push(LDS, "outbound/a") >> ack()
    assert not play.done().rejected


def test_going_back_to_the_version_before_ends_the_refusal() -> None:
    play = started() >> publish(**changed(LDS={"outbound/a": 2})) << push(LDS, "outbound/a") >> nack("bad")
    play >> publish(**MESH) << push(LDS, "outbound/a") >> ack()
    assert not play.done().rejected


def test_a_listener_whose_namespace_is_not_there_yet_is_tried_again_with_growing_pauses() -> None:
    play = started() >> publish(**changed(LDS={"outbound/b": 1})) << push(LDS, "outbound/b")
    pauses = []
    for _ in range(10):
        play >> nack("failed to open netns file /run/netns/b: No such file or directory")
        due = play.done().next_due
        assert due is not None
        pauses.append(due - play.now)
        play >> wait(pauses[-1] + 0.001) << push(LDS, "outbound/b")
    assert pauses[0] == pytest.approx(0.05)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(5.0)
    play >> ack()
    assert not play.done().rejected


def test_a_refusal_of_the_past_does_not_touch_a_newer_version() -> None:
    play = started() >> publish(**changed(RDS={"9080/shop": 2})) << push(RDS, "9080/shop")
    play >> publish(**changed(RDS={"9080/shop": 3})) << push(RDS, "9080/shop")
    play >> nack("no such cluster") >> ack()
    assert not play.done().rejected


def test_a_removed_resource_takes_its_refusal_along() -> None:
    play = started() >> publish(**changed(LDS={"outbound/b": 1})) << push(LDS, "outbound/b") >> nack("bad")
    play >> publish(**MESH) << push(LDS, removed=("outbound/b",)) >> ack()
    assert not play.done().rejected


def test_secrets_come_on_demand_and_rotate() -> None:
    play = started() >> ask(SDS, "ROOTCA") << push(SDS, "ROOTCA") >> ack()
    play >> publish(**changed(SDS={"ROOTCA": 2, "other": 1})) << push(SDS, "ROOTCA")
    play.done()


def test_wildcard_and_names_can_be_mixed() -> None:
    play = Playbook(**MESH) >> ask(CDS, "reviews") << push(CDS, "reviews")
    play >> ack() >> publish(**changed(CDS={"ratings": 2}))
    play >> ask(CDS, "*") << push(CDS, "ratings") >> ack()
    play >> publish(**changed(CDS={"ratings": 3})) << push(CDS, "ratings")
    play.done()


def test_unknown_types_are_left_unanswered() -> None:
    (started() >> ask("type.googleapis.com/envoy.service.runtime.v3.Runtime")).done()


def test_a_changed_cluster_is_told_again_that_it_has_no_endpoints() -> None:
    play = started() >> publish(**changed(CDS={"ghost": 1})) << push(CDS, "ghost") >> ack()
    play >> ask(EDS, "ghost") << push(EDS, removed=("ghost",)) >> ack()
    play >> publish(**changed(CDS={"ghost": 2})) << push(CDS, "ghost") << push(EDS, removed=("ghost",))
    play.done()
