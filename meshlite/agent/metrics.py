"""The agent's own measurements, in Prometheus' text form, and how long changes took to be in effect."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
KEPT = 1000


@dataclass
class Durations:
    """Seconds, counted in buckets for Prometheus; the newest are kept for quantiles."""

    name: str
    help: str
    total: float = 0.0
    count: int = 0
    last: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    newest: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def observe(self, seconds: float) -> None:
        self.total += seconds
        self.count += 1
        self.last = seconds
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.newest.append(seconds)

    def quantile(self, part: float) -> float:
        """Of the newest observations; 0 where there is none."""
        ordered = sorted(self.newest)
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} histogram"
        seen = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            seen += count
            yield f'{self.name}_bucket{{le="{bound}"}} {seen}'
        yield f"{self.name}_sum {self.total:.6f}"
        yield f"{self.name}_count {self.count}"


def gauge(name: str, help: str, value: float, labels: Mapping[str, str] | None = None) -> Iterator[str]:
    """One value as it is now."""
    inside = ",".join(f'{key}="{text}"' for key, text in (labels or {}).items())
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} gauge"
    yield f"{name}{f'{{{inside}}}' if inside else ''} {value:g}"


class Timings:
    """How long translating takes, and from an event to Envoy's acknowledgement."""

    def __init__(self) -> None:
        self.translation = Durations(
            "meshlite_agent_translation_seconds", "Time to translate a snapshot for this node."
        )
        self.propagation = Durations(
            "meshlite_agent_propagation_seconds",
            "Time from a change being known here to the node proxy's acknowledgement.",
        )

    def lines(self) -> Iterator[str]:
        yield from self.translation.lines()
        yield from self.propagation.lines()
