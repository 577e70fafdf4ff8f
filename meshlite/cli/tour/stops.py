"""The stops of the tour: each changes one thing, makes calls, and compares what came with what it said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meshlite.cli.engine import Container
from meshlite.cli.settings import agent_of
from meshlite.cli.tour import rules
from meshlite.cli.tour.traffic import Call, calls, versions
from meshlite.config import Settings

PAGES, REQUESTS, PER_USER = 10, 200, 10
REVIEWS = "http://reviews:9080/reviews/0"
RATINGS = "http://ratings:9080/ratings/0"
PAGE = "http://127.0.0.1:9080/productpage"
JASON = {"end-user": "jason"}
DELAY = 2.0


@dataclass(frozen=True)
class Place:
    """Where the tour happens: the namespace, the container that calls, and one outside the mesh."""

    settings: Settings
    namespace: str
    caller: Container
    stranger: str


@dataclass(frozen=True)
class Observation:
    """One stop: what should happen, what was seen, and whether that agrees. `files`: what was applied."""

    stop: str
    title: str
    expected: str
    seen: str
    ok: bool
    observed: dict[str, Any]
    files: tuple[str, ...] = field(default=())


def who_calls_whom(place: Place) -> Observation:
    """The page is called; every service behind it is then seen being called by the right one."""
    before = traffic(place.settings)
    calls(place.caller.name, PAGE, PAGES)
    counted = {edge: count - before.get(edge, 0) for edge, count in traffic(place.settings).items()}
    edges = {f"{source} → {target}": n for (source, target), n in sorted(counted.items()) if n > 0}
    needed = {"productpage → details", "productpage → reviews", "reviews → ratings"}
    return Observation(
        "traffic",
        f"{PAGES} views of the page",
        "productpage calls details and reviews, reviews calls ratings",
        ", ".join(f"{edge} {count}×" for edge, count in edges.items()),
        needed <= set(edges),
        {"pages": PAGES, "edges": edges},
    )


def spread(place: Place) -> Observation:
    """Without a rule, all versions share the load."""
    counted = versions(calls(place.caller.name, REVIEWS, 60))
    return Observation(
        "balance",
        "60 requests to reviews, no rule",
        "v1, v2 and v3 all answer",
        shown(counted),
        set(counted) == {"v1", "v2", "v3"},
        {"requests": 60, "versions": counted},
    )


def canary(place: Place) -> Observation:
    """A tenth of the requests go to v3: within four standard deviations, as chance has it."""
    rules.apply(place.settings, place.namespace, "subsets", "canary")
    counted = versions(calls(place.caller.name, REVIEWS, REQUESTS))
    share = counted.get("v3", 0) / REQUESTS
    return Observation(
        "canary",
        f"{REQUESTS} requests, 90/10",
        "about 180 to v1 and 20 to v3",
        shown(counted),
        set(counted) == {"v1", "v3"} and abs(share - 0.1) < 0.085,
        {"requests": REQUESTS, "versions": counted, "share": share},
        ("subsets.yaml", "canary.yaml"),
    )


def user_route(place: Place) -> Observation:
    """One user is routed to another version than everybody else."""
    rules.apply(place.settings, place.namespace, "user")
    jason = versions(calls(place.caller.name, REVIEWS, PER_USER, JASON))
    others = versions(calls(place.caller.name, REVIEWS, PER_USER))
    return Observation(
        "user",
        "route by the header end-user",
        "jason gets v2, others v1",
        f"jason: {shown(jason)}; others: {shown(others)}",
        jason == {"v2": PER_USER} and others == {"v1": PER_USER},
        {"jason": jason, "others": others},
        ("subsets.yaml", "user.yaml"),
    )


def fault(place: Place) -> Observation:
    """A delay is put in for one user only."""
    rules.apply(place.settings, place.namespace, "fault")
    late, quick = calls(place.caller.name, RATINGS, 2, JASON), calls(place.caller.name, RATINGS, PER_USER)
    answered = all(call.status == 200 for call in (*late, *quick))
    return Observation(
        "fault",
        "2 s delay of ratings, for jason",
        "jason waits 2 s, others do not",
        f"jason: {seconds(late)}; others: {seconds(quick)}",
        answered and min(c.seconds for c in late) >= DELAY and max(c.seconds for c in quick) < 1.0,
        {"jason": [call.seconds for call in late], "others": [call.seconds for call in quick]},
        ("fault.yaml",),
    )


def strict(place: Place) -> Observation:
    """A container outside the mesh gets in before STRICT, and not after; the mesh itself does not notice."""
    before = calls(place.stranger, RATINGS, 3)
    rules.apply(place.settings, place.namespace, "strict")
    refused, inside = calls(place.stranger, RATINGS, 3), calls(place.caller.name, RATINGS, PER_USER)
    return Observation(
        "strict",
        "STRICT, with a stranger at the door",
        "the stranger is refused, the mesh goes on",
        f"stranger: {outcome(before)} before, {outcome(refused)} after; mesh: {outcome(inside)}",
        all(c.status == 200 for c in (*before, *inside)) and all(c.status == 0 for c in refused),
        {"before": outcome(before), "stranger": outcome(refused), "mesh": outcome(inside)},
        ("strict.yaml",),
    )


def undo(place: Place) -> Observation:
    """All rules are deleted, and everything is as it was."""
    rules.clear(place.settings, place.namespace)
    counted, visitor = versions(calls(place.caller.name, REVIEWS, 60)), calls(place.stranger, RATINGS, 3)
    return Observation(
        "undo",
        "all rules deleted",
        "all versions answer, the stranger gets in again",
        f"{shown(counted)}; stranger: {outcome(visitor)}",
        set(counted) == {"v1", "v2", "v3"} and all(call.status == 200 for call in visitor),
        {"versions": counted, "stranger": outcome(visitor)},
    )


STOPS: tuple[Callable[[Place], Observation], ...] = (
    who_calls_whom,
    spread,
    canary,
    user_route,
    fault,
    strict,
    undo,
)


def traffic(settings: Settings) -> dict[tuple[str, str], int]:
    """How often each service has called each other one, by the agent's counters."""
    counted: dict[tuple[str, str], int] = {}
    for row in agent_of(settings).get("/v1/traffic")["traffic"]:
        edge = (service(row["source"]), service(row["destination"]))
        counted[edge] = counted.get(edge, 0) + int(row["count"])
    return counted


def service(name: str) -> str:
    """The short name of a service in a SPIFFE id, an FQDN, or name.namespace."""
    return name.rpartition("/sa/")[2].partition(".")[0]


def shown(counted: dict[str, int]) -> str:
    return ", ".join(f"{version} {count}×" for version, count in counted.items())


def seconds(made: tuple[Call, ...]) -> str:
    """The slowest of some calls."""
    slowest = max(call.seconds for call in made)
    return f"{slowest:.2f} s" if slowest >= 1 else f"{slowest * 1000:.0f} ms"


def outcome(made: tuple[Call, ...]) -> str:
    """What came of some calls, each outcome once."""
    return ", ".join(sorted({str(call.status or call.error or "no answer") for call in made}))
