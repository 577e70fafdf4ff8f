"""What a measurement yields: figures with their targets, and tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """One number that we promise something about. `bound` says on which side of `target` it has to be."""

    name: str
    value: float
    unit: str
    bound: Literal["at least", "at most"]
    target: float

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.bound == "at least" else self.value <= self.target

    @property
    def verdict(self) -> str:
        return "met" if self.met else "not met"


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; the first column names the row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Part:
    """The outcome of one measurement. `samples` are the raw numbers, for the JSON file only.

    `error`: a sentence that says why it could not be measured; then there is nothing else.
    """

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    samples: dict[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True)
class Options:
    """`quick` measures less often and shorter: to see that it works, not for numbers to show."""

    quick: bool = False

    def times(self, full: int, quick: int = 2) -> int:
        return quick if self.quick else full


def document(parts: Sequence[Part], machine: dict[str, str]) -> dict[str, Any]:
    """The whole run for a JSON file."""
    return {
        "machine": machine,
        "parts": [
            {**asdict(part), "figures": [{**asdict(figure), "met": figure.met} for figure in part.figures]}
            for part in parts
        ],
    }
