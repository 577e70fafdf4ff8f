"""The pure stage between the mesh and Envoy: a snapshot and one node's view in, resources out."""

from __future__ import annotations

from meshlite.model.made import made_from
from meshlite.model.mesh import Problem, Snapshot
from meshlite.translate.envoy.emit import emit
from meshlite.translate.memo import NOTHING, Memo, Memory
from meshlite.translate.node import NodeView
from meshlite.translate.plan.plan import plan
from meshlite.translate.plan.resources import tell
from meshlite.translate.translation import Translation


def translate(snapshot: Snapshot, node: NodeView) -> Translation:
    """Everything that Envoy on this node is to do. Total: faulty resources become problems, never errors."""
    return remembering(snapshot, node, NOTHING)[0]


def remembering(snapshot: Snapshot, node: NodeView, last: Memory) -> tuple[Translation, Memory]:
    """`translate`, quicker by what the last call has made; returns the memory for the next.

    What has not changed since then is the very same object in the result.
    """
    problems: dict[tuple[str, str], Problem] = {}

    made = {
        resource.key: parents
        for resource in snapshot.resources
        if resource.annotations and (parents := made_from(resource.annotations))
    }

    def report(resource: str, reason: str) -> None:
        for key in made.get(resource) or (resource,):
            problems.setdefault((key, reason), Problem(resource=key, reason=reason))

    memo = Memo(last)
    decided, strict = plan(memo, snapshot, node, report)
    resources, told = emit(memo, decided)
    tell(told, report)
    gateways = {
        one.entrance.name: tuple(key for name in one.resources for key in made.get(name) or (name,))
        for one in decided.gateways
    }
    return Translation(resources, tuple(problems.values()), strict, gateways, decided.modules), memo.now


class Translator:
    """Translates again and again, each time quicker by what has not changed since the last."""

    def __init__(self) -> None:
        self._memory: Memory = NOTHING

    def translate(self, snapshot: Snapshot, node: NodeView) -> Translation:
        translation, self._memory = remembering(snapshot, node, self._memory)
        return translation
