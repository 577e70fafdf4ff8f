"""How many requests a workload takes: the label `meshlite.rate-limit`, such as `100/s`.

Istio has no resource for it: there it is an EnvoyFilter of fifty lines for each workload. A label stands in
the Compose file beside the program that it protects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PATTERN = r"^([1-9][0-9]{0,8}/[smh])?$"
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many requests in so many seconds; after a pause as many may come at once."""

    requests: int
    seconds: int

    @classmethod
    def of(cls, written: str) -> RateLimit | None:
        """`100/s`, `30/m`, `1000/h`; None for anything else, and for nothing."""
        if not written or not re.fullmatch(PATTERN, written):
            return None
        requests, _, unit = written.partition("/")
        return cls(int(requests), _SECONDS[unit])
