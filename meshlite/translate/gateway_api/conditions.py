"""Conditions: what a resource's status says about it, in Gateway API's words.

Source: https://gateway-api.sigs.k8s.io/geps/gep-1364/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Condition = dict[str, Any]
Status = dict[str, Any]

_PARTS = ("listeners", "parents", "ancestors")
_WANTED = ("Accepted", "Programmed", "ResolvedRefs")


@dataclass(frozen=True)
class Complaint:
    """Why something does not hold: a word for programs, a sentence for people."""

    reason: str
    message: str

    def __add__(self, other: Complaint | None) -> Complaint:
        return self if other is None else Complaint(self.reason, f"{self.message}; {other.message}")


def condition(kind: str, reason: str, message: str, generation: int, status: bool = True) -> Condition:
    return {
        "type": kind,
        "status": "True" if status else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


def verdict(
    kind: str, complaint: Complaint | None, good: tuple[str, str], generation: int, when_good: bool = True
) -> Condition:
    """The condition `kind`: `good` is its reason and message while nothing is wrong, else its opposite."""
    if complaint is None:
        return condition(kind, *good, generation, when_good)
    return condition(kind, complaint.reason, complaint.message, generation, not when_good)


def troubles(status: Mapping[str, Any]) -> Iterator[str]:
    """What a status says against its resource, each once, as sentences."""
    found: dict[str, None] = {}
    parts = (status, *(part for name in _PARTS for part in status.get(name, ())))
    for part in parts:
        for row in part.get("conditions", ()):
            if row["type"] in _WANTED and row["status"] != "True":
                name = f"listener {part['name']}: " if "name" in part else ""
                found[f"{name}{row['message']} ({row['type']}: {row['reason']})"] = None
    yield from found
