"""Host names of listeners and routes: which cover which, and what both mean."""

from __future__ import annotations

from collections.abc import Iterable

from meshlite.model.rules.virtual_service import covers, overlap

__all__ = ["covers", "intersection", "overlap"]


def intersection(ones: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """The hosts that both sides mean: of each pair that overlaps, the narrower one."""
    others = tuple(others)
    found = [_narrower(one, other) for one in ones for other in others if overlap(one, other)]
    return tuple(dict.fromkeys(found))


def _narrower(one: str, other: str) -> str:
    return one if covers(other, one) else other
