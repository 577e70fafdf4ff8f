"""In what order endpoints at different places come, and the shares of places."""

from __future__ import annotations

from typing import Any

import pytest

from meshlite.model.locality import Locality, locality
from meshlite.model.networking import TrafficPolicy
from meshlite.translate.plan.cluster import Endpoint
from meshlite.translate.plan.locality import Here, There, labels_of, order

PLACES = ("eu/1/a", "eu/1/b", "eu/2/a", "us/1/a", "asia/1/a")


def there(place: str, number: int, **labels: str) -> There:
    endpoint = Endpoint("127.0.0.1", number, place)
    return There(endpoint, locality(place), labels_of(locality(place), f"node-{number}", labels))


def arranged(
    setting: dict[str, Any],
    *found: There,
    here: str = "eu/1/a",
    detects: bool = True,
    callers: dict[str, int] | None = None,
    **labels: str,
) -> tuple[dict[str, int], dict[str, int]]:
    """Priorities by workload, and shares by place."""
    policy: dict[str, Any] = {"loadBalancer": setting}
    if detects:
        policy["outlierDetection"] = {}
    counted = {locality(place): count for place, count in (callers or {}).items()}
    view = Here(locality(here), labels_of(locality(here), "node-1", labels), counted)
    found = found or tuple(there(place, number) for number, place in enumerate(PLACES))
    endpoints, shares = order(TrafficPolicy.model_validate(policy)).arranged(view, found)
    return {one.workload: one.priority for one in endpoints}, {"/".join(place): n for place, n in shares}


@pytest.mark.parametrize(
    ("here", "priorities"),
    [
        ("eu/1/a", [0, 1, 2, 3, 3]),
        ("eu/2/a", [1, 1, 0, 2, 2]),
        ("us/2/a", [1, 1, 1, 0, 1]),
        ("mars", [0, 0, 0, 0, 0]),
    ],
)
def test_the_nearest_first_without_gaps(here: str, priorities: list[int]) -> None:
    found, shares = arranged({}, here=here)
    assert [found[place] for place in PLACES] == priorities
    assert shares == {}


def test_a_written_region_comes_before_all_others() -> None:
    setting = {"localityLbSetting": {"failover": [{"from": "us", "to": "eu"}, {"from": "eu", "to": "asia"}]}}
    assert arranged(setting)[0] == dict(zip(PLACES, [0, 1, 2, 4, 3], strict=True))


@pytest.mark.parametrize(
    "setting", [{"localityLbSetting": {"enabled": False}}, {"zoneAwareLbSetting": {"enabled": False}}]
)
def test_switched_off(setting: dict[str, Any]) -> None:
    assert set(arranged(setting)[0].values()) == {0}


def test_without_detection_nothing_fails_over() -> None:
    assert set(arranged({}, detects=False)[0].values()) == {0}
    setting = {"localityLbSetting": {"failoverPriority": ["a"]}}
    assert set(arranged(setting, detects=False)[0].values()) == {0}


def test_labels_in_their_order() -> None:
    setting = {"localityLbSetting": {"failoverPriority": ["topology.kubernetes.io/region", "v=2", "tier"]}}
    found = (
        there("eu/9", 1, tier="x", v="2"),
        there("eu/8", 2, tier="y", v="2"),
        there("eu/7", 3, tier="x", v="1"),
        there("us/1", 4, tier="x", v="2"),
    )
    assert list(arranged(setting, *found, tier="x", v="9")[0].values()) == [0, 1, 2, 3]


def test_labels_and_then_regions() -> None:
    setting = {"localityLbSetting": {"failoverPriority": ["v"], "failover": [{"from": "eu", "to": "asia"}]}}
    found = tuple(there(place, number, v="1") for number, place in enumerate(PLACES))
    found += (there("eu/1/x", 9, v="2"),)
    priorities = arranged(setting, *found, v="1")[0]
    assert list(priorities.values()) == [0, 1, 2, 3, 4, 5]
    assert priorities["eu/1/x"] == 5


def test_shares_within_a_wildcard_go_by_endpoints_and_who_is_not_named_gets_nothing() -> None:
    setting = {"localityLbSetting": {"distribute": [{"from": "eu/1/*", "to": {"eu/*": 90, "us": 10}}]}}
    found = (there("eu/1/a", 1), there("eu/1/a", 2), there("eu/2/a", 3), there("us/1", 4), there("asia", 5))
    priorities, shares = arranged(setting, *found, detects=False)
    assert priorities.keys() == {"eu/1/a", "eu/2/a", "us/1"}
    assert shares == {"eu/1/a": 60, "eu/2/a": 30, "us/1/": 10}


def test_shares_for_other_places_do_not_count() -> None:
    setting = {"localityLbSetting": {"distribute": [{"from": "us/*", "to": {"us/*": 100}}]}}
    policy = order(TrafficPolicy.model_validate({"loadBalancer": setting}))
    assert not policy.weighted(Locality("eu"))
    assert policy.weighted(Locality("us", "1"))
    found, shares = arranged(setting, detects=False)
    assert (found.keys(), shares) == ({*PLACES}, {})


def test_a_zone_with_enough_endpoints_keeps_to_itself() -> None:
    setting = {"zoneAwareLbSetting": {"minClusterSize": 1}}
    found = (*(there("eu/1", number) for number in range(3)), there("eu/2", 4), there("us/1", 5))
    priorities, shares = arranged(setting, *found, here="eu/1", detects=False, callers={"eu/1": 1, "eu/2": 1})
    assert priorities == {"eu/1": 0, "eu/2": 0, "us/1": 1}
    assert shares["eu/1/"] > 1000 * shares["eu/2/"]


def test_a_zone_with_too_few_sends_the_rest_to_who_can_spare() -> None:
    """Half of the callers and a quarter of the endpoints: half of the requests leave."""
    setting = {"zoneAwareLbSetting": {"minClusterSize": 1}}
    found = (there("eu/1", 0), *(there("eu/2", number) for number in range(1, 4)))
    _, shares = arranged(setting, *found, here="eu/1", detects=False, callers={"eu/1": 1, "eu/2": 1})
    assert shares == {"eu/1/": 5000, "eu/2/": 5000}


def test_few_endpoints_are_not_told_apart_by_zone() -> None:
    setting: dict[str, Any] = {"zoneAwareLbSetting": {"failover": [{"from": "eu", "to": "us"}]}}
    priorities, shares = arranged(setting, callers={"eu/1/a": 1})
    assert priorities == dict(zip(PLACES, [0, 0, 0, 1, 2], strict=True))
    assert set(shares.values()) == {1}
