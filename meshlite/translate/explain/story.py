"""What an explanation consists of: steps, each with who decided it, why, and what was passed over."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PassedOver:
    """A resource or rule that did not decide, and why not."""

    what: str
    why: str


@dataclass(frozen=True)
class Step:
    """`by`: the resource (and field) that decided; empty: none, it is the default."""

    step: str
    decision: str
    by: str = ""
    why: str = ""
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True)
class End:
    """An endpoint that the request may reach, with the share in percent of its cluster."""

    cluster: str
    share: float
    workload: str
    address: str
    port: int


@dataclass(frozen=True)
class Story:
    """`outcome` in a sentence; `ends`: where the request may end up, none where it is answered before."""

    outcome: str
    steps: tuple[Step, ...]
    ends: tuple[End, ...] = ()
