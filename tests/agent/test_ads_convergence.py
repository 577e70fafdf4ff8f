"""Whatever happens in whatever order, Envoy ends up with the wanted configuration, less what it refuses."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from meshlite.agent import ads
from tests.agent.playbook import CDS, EDS, LDS, RDS, Blob

NAMES = ("a", "b", "c")
OWNER = {EDS: CDS, RDS: LDS}  # in this mesh a cluster has the endpoints, a listener the route, of its name


def breaks_response(version: str) -> bool:
    """Envoy drops the whole response (a constraint violation)."""
    return version == "7"


def refused(version: str) -> bool:
    return version in {"7", "8"}


@dataclass
class ModelEnvoy:
    """As much of Envoy's delta ADS as matters here: subscriptions, warming, both kinds of refusal."""

    has: dict[str, dict[str, str]] = field(default_factory=lambda: {kind: {} for kind in ads.PUSH_ORDER})
    asked: dict[str, set[str]] = field(default_factory=lambda: {EDS: set(), RDS: set()})
    warming: set[str] = field(default_factory=set)

    def connect(self) -> list[ads.Request]:
        requests = []
        for kind in (CDS, EDS, LDS, RDS):
            names = tuple(sorted(self.asked.get(kind, ())))
            if kind in OWNER and not names:
                continue
            requests.append(ads.Request(kind, names, initial_versions=dict(self.has[kind])))
        return requests

    def receive(self, response: ads.Response) -> list[ads.Request]:
        kind, versions = response.type_url, {n: r.version for n, r in response.resources.items()}
        if any(breaks_response(version) for version in versions.values()):
            return [ads.Request(kind, nonce=response.nonce, error="constraint")]
        error = ""
        for name, version in versions.items():
            if refused(version):
                error = f"{name}: refused"
            elif kind not in OWNER or name in self.asked[kind]:
                if kind == CDS and self.has[CDS].get(name) != version:
                    self.warming.add(name)
                self.has[kind][name] = version
                self.warming -= {name} if kind == EDS else set()
        for name in response.removed:
            self.has[kind].pop(name, None)
            self.warming -= {name} if kind in (CDS, EDS) else set()
        requests = [ads.Request(kind, nonce=response.nonce, error=error)]
        return self._resubscribe() + requests

    def _resubscribe(self) -> list[ads.Request]:
        requests = []
        for kind, owner in OWNER.items():
            needed = set(self.has[owner])
            new, old = needed - self.asked[kind], self.asked[kind] - needed
            if new or old:
                requests.append(ads.Request(kind, tuple(sorted(new)), tuple(sorted(old))))
            self.asked[kind] = needed
            for name in old:
                self.has[kind].pop(name, None)
        return requests


class World:
    """Agent and Envoy with both directions of the wire between them, so that messages can cross."""

    def __init__(self) -> None:
        self.now = 0.0
        self.wanted: ads.Wanted = {}
        self.envoy = ModelEnvoy()
        self.reconnect()

    def reconnect(self) -> None:
        self.stream = ads.Stream(self.wanted, self.now)
        self.to_envoy: deque[ads.Response] = deque()
        self.to_agent: deque[ads.Request] = deque(self.envoy.connect())

    def publish(self, wanted: ads.Wanted) -> None:
        self.wanted = wanted
        self.to_envoy += self.stream.publish(wanted, self.now)

    def step(self, what: str) -> None:
        if what == "agent reads" and self.to_agent:
            self.to_envoy += self.stream.received(self.to_agent.popleft(), self.now)
        elif what == "envoy reads" and self.to_envoy:
            self.to_agent += self.envoy.receive(self.to_envoy.popleft())
        elif what == "reconnect":
            self.reconnect()
        elif what == "time":
            self.now += 0.06
            self.to_envoy += self.stream.due(self.now)

    def settle(self) -> int:
        """Run to the end; the number of messages it took."""
        for count in range(2000):
            if self.to_agent:
                self.step("agent reads")
            elif self.to_envoy:
                self.step("envoy reads")
            elif self.stream.next_due is not None:
                self.step("time")
            else:
                return count
        raise AssertionError("agent and Envoy never come to rest")


versions = st.sampled_from(["1", "2", "3", "7", "8"])
configurations = st.fixed_dictionaries(
    {kind: st.dictionaries(st.sampled_from(NAMES), versions.map(Blob)) for kind in (CDS, EDS, LDS, RDS)}
)
events = st.lists(
    st.one_of(
        st.sampled_from(["agent reads", "envoy reads", "agent reads", "envoy reads", "time", "reconnect"]),
        configurations,
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(events, configurations)
def test_any_order_of_events_ends_in_the_wanted_state(script: list[object], last: ads.Wanted) -> None:
    world = World()
    for event in script:
        world.step(event) if isinstance(event, str) else world.publish(event)  # type: ignore[arg-type]
    world.publish(last)
    world.settle()
    for kind in (CDS, EDS, LDS, RDS):
        has, wanted = world.envoy.has[kind], {n: r.version for n, r in last[kind].items()}
        applicable = set(wanted) & world.envoy.asked.get(kind, set(wanted))
        for name in applicable:
            if refused(wanted[name]):
                assert (kind, name) in world.stream.rejected
                assert not refused(has.get(name, ""))
            else:
                assert has.get(name) == wanted[name]
        if kind != RDS:  # a listener may keep a route that is gone; Envoy ignores the removal of routes
            assert has.keys() <= wanted.keys()
    stuck = {name for name in world.envoy.warming if not refused(getattr(last[EDS].get(name), "version", ""))}
    assert not stuck
    assert world.stream.settled
