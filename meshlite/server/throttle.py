"""How often somebody may ask: a rate for each caller, and waiting that grows with every wrong token.

In memory only: a restart begins anew. The local socket is not limited.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from meshlite.server.auth import Caller
from meshlite.server.clock import Clock
from meshlite.server.refusal import Refusal


@dataclass(frozen=True)
class Rate:
    """Requests a second in the long run, and how many at once after a pause."""

    second: float
    burst: float


NODE = Rate(200.0, 4000.0)
"""A node asks for a certificate for each of its workloads at once."""
PERSON = Rate(50.0, 500.0)
STRANGER = Rate(20.0, 200.0)
"""For all of one address together."""

FREE_GUESSES = 5
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
FORGOTTEN = 600.0
"""Seconds without a wrong token after which an address begins anew."""
REMEMBERED: Final = 10_000


@dataclass
class _Bucket:
    left: float
    since: float


@dataclass
class _Guesses:
    count: int
    last: float
    until: float


class Throttle:
    """Raises Refusal (429) with the seconds to wait; `refused` counts that."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._guesses: dict[str, _Guesses] = {}
        self.refused = 0

    def admit(self, caller: Caller, source: str) -> None:
        """One request of `caller`, from address `source`; empty: the local socket."""
        if not source:
            return
        known = caller.roles - {"anyone"}
        key = caller.name if known else f"address {source}"
        rate = NODE if caller.node else PERSON if known else STRANGER
        now = self._clock.monotonic()
        bucket = self._buckets.pop(key, None) or _Bucket(rate.burst, now)
        bucket.left = min(rate.burst, bucket.left + (now - bucket.since) * rate.second)
        bucket.since = now
        self._buckets[key] = bucket
        _bound(self._buckets)
        if bucket.left < 1:
            self._refuse(f"{key} asks too often", (1 - bucket.left) / rate.second)
        bucket.left -= 1

    def may_guess(self, source: str) -> None:
        """Before a token from this address is looked at, whether right or wrong."""
        found = self._guesses.get(source)
        if found is not None and (left := found.until - self._clock.monotonic()) > 0:
            self._refuse("too many wrong tokens came from this address", left)

    def guessed_wrong(self, source: str) -> None:
        """Each further one has the address wait twice as long."""
        if not source:
            return
        now = self._clock.monotonic()
        found = self._guesses.pop(source, None)
        if found is None or now - found.last > FORGOTTEN:
            found = _Guesses(0, now, now)
        found.count, found.last = found.count + 1, now
        if (over := found.count - FREE_GUESSES) >= 0:
            found.until = now + min(FIRST_WAIT * 2.0 ** min(over, 10), LONGEST_WAIT)
        self._guesses[source] = found
        _bound(self._guesses)

    def _refuse(self, why: str, seconds: float) -> None:
        self.refused += 1
        wait = max(1, math.ceil(seconds))
        raise Refusal(
            HTTPStatus.TOO_MANY_REQUESTS, why, f"try again in {wait} s", headers={"Retry-After": str(wait)}
        )


def _bound(kept: dict[str, _Bucket] | dict[str, _Guesses]) -> None:
    """Whoever asked longest ago is forgotten first: addresses are for anybody to make up."""
    while len(kept) > REMEMBERED:
        del kept[next(iter(kept))]
