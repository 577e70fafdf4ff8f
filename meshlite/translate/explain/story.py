"""What an explanation consists of: steps, each with who decided it, why, and what was passed over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from meshlite.model.made import made_from
from meshlite.model.mesh import Resource


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


def as_written(story: Story, resources: Iterable[Resource]) -> Story:
    """With the names of resources that people wrote, in place of those that were made from them."""
    written = {one.key: ", ".join(made_from(one.annotations)) for one in resources}

    def name(what: str) -> str:
        return written.get(what.partition(" ")[0]) or what

    steps = []
    for step in story.steps:
        passed = (PassedOver(name(one.what), one.why) for one in step.passed_over)
        steps.append(replace(step, by=name(step.by), passed_over=tuple(dict.fromkeys(passed))))
    return replace(story, steps=tuple(steps))
