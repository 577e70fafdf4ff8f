"""A script-like way to talk to the ADS state machine: `>>` is what Envoy says, `<<` what it must be told.

Playbook(CDS={"a": 1}) >> ask(CDS) << push(CDS, "a") >> ack()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshlite.agent import ads

CDS, EDS, LDS, RDS, SDS = ads.PUSH_ORDER


@dataclass(frozen=True)
class Blob:
    """A resource whose content is its version."""

    version: str

    @property
    def body(self) -> bytes:
        return self.version.encode()


def wanted(**types: dict[str, object]) -> ads.Wanted:
    """`wanted(CDS={"a": 1})`: resources by short type name, versions as anything printable."""
    urls = {short: url for url, short in ads.SHORT_NAMES.items()}
    return {urls[short]: {n: Blob(str(v)) for n, v in entries.items()} for short, entries in types.items()}


@dataclass(frozen=True)
class push:
    """An expected response: names sent, names removed."""

    kind: str
    names: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __init__(self, kind: str, *names: str, removed: tuple[str, ...] = ()) -> None:
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "names", tuple(sorted(names)))
        object.__setattr__(self, "removed", tuple(sorted(removed)))

    def __repr__(self) -> str:
        gone = f", removed={self.removed}" if self.removed else ""
        return f"push({ads.SHORT_NAMES[self.kind]}, {', '.join(self.names)}{gone})"


Step = Callable[["Playbook"], list[ads.Response]]


def ask(kind: str, *names: str, drop: tuple[str, ...] = (), have: dict[str, object] | None = None) -> Step:
    """Envoy subscribes (no names: to all), drops names, or comes back with versions it has."""
    versions = {name: str(version) for name, version in (have or {}).items()}
    return lambda play: play.stream.received(ads.Request(kind, names, drop, versions), play.now)


def ack() -> Step:
    """Envoy accepts everything it was sent and has not answered."""

    def step(play: Playbook) -> list[ads.Response]:
        answered, play.unanswered = play.unanswered, []
        responses = []
        for response in answered:
            responses += play.stream.received(ads.Request(response.type_url, nonce=response.nonce), play.now)
        return responses

    return step


def nack(reason: str, which: int = 0) -> Step:
    """Envoy refuses its oldest unanswered response (or the `which`-th)."""

    def step(play: Playbook) -> list[ads.Response]:
        response = play.unanswered.pop(which)
        refusal = ads.Request(response.type_url, nonce=response.nonce, error=reason)
        return play.stream.received(refusal, play.now)

    return step


def publish(**types: dict[str, object]) -> Step:
    """The agent has a new configuration."""
    return lambda play: play.stream.publish(wanted(**types), play.now)


def wait(seconds: float) -> Step:
    """Time passes; the stream is called when it asked to be."""

    def step(play: Playbook) -> list[ads.Response]:
        end, responses = play.now + seconds, []
        while (due := play.stream.next_due) is not None and due <= end:
            play.now = max(play.now, due)
            responses += play.stream.due(play.now)
        play.now = end
        return responses

    return step


class Playbook:
    """One stream, its clock, and the responses that are still to be compared with what was expected."""

    def __init__(self, **types: dict[str, object]) -> None:
        self.now = 100.0
        self.stream = ads.Stream(wanted(**types), self.now)
        self.unanswered: list[ads.Response] = []
        self._unread: list[push] = []

    def __rshift__(self, step: Step) -> Playbook:
        assert not self._unread, f"sent, but the playbook does not expect it: {self._unread}"
        responses = step(self)
        self.unanswered += responses
        self._unread = [push(r.type_url, *r.resources, removed=r.removed) for r in responses]
        return self

    def __lshift__(self, expected: push) -> Playbook:
        assert self._unread, f"expected {expected}, nothing was sent"
        assert self._unread.pop(0) == expected
        return self

    def done(self) -> ads.Stream:
        assert not self._unread, f"sent, but the playbook does not expect it: {self._unread}"
        return self.stream
