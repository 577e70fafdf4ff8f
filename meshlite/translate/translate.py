"""The pure stage between the mesh and Envoy: a snapshot and one node's view in, resources out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshlite.model.mesh import Problem, Snapshot
from meshlite.translate.envoy import emit
from meshlite.translate.node import NodeView
from meshlite.translate.plan import resources
from meshlite.translate.plan.plan import plan
from meshlite.translate.translation import Encoded, Translation


@dataclass(frozen=True)
class Memory:
    """What the last translation has made, by content. It saves work and changes no result."""

    resources: resources.Memory = field(default_factory=dict)
    parts: emit.Memory = field(default_factory=dict)
    encoded: Mapping[str, Mapping[str, Encoded]] = field(default_factory=dict)


def translate(snapshot: Snapshot, node: NodeView) -> Translation:
    """Everything that Envoy on this node is to do. Total: faulty resources become problems, never errors."""
    return remembering(snapshot, node, Memory())[0]


def remembering(snapshot: Snapshot, node: NodeView, last: Memory) -> tuple[Translation, Memory]:
    """`translate`, quicker by what the last call has made; returns the memory for the next."""
    problems: dict[tuple[str, str], Problem] = {}

    def report(resource: str, reason: str) -> None:
        problems.setdefault((resource, reason), Problem(resource=resource, reason=reason))

    specs = resources.read(snapshot, last.resources, report)
    decided, strict = plan(snapshot, node, specs, report)
    bodies, parts = emit.emit(decided, last.parts)
    encoded = {
        type_url: _encoded(named, last.encoded.get(type_url, {})) for type_url, named in bodies.items()
    }
    return Translation(encoded, tuple(problems.values()), strict), Memory(specs, parts, encoded)


def _encoded(bodies: Mapping[str, bytes], last: Mapping[str, Encoded]) -> Mapping[str, Encoded]:
    return {name: Encoded.of(body, last.get(name)) for name, body in sorted(bodies.items())}


class Translator:
    """Translates again and again, each time quicker by what has not changed since the last."""

    def __init__(self) -> None:
        self._memory = Memory()

    def translate(self, snapshot: Snapshot, node: NodeView) -> Translation:
        translation, self._memory = remembering(snapshot, node, self._memory)
        return translation
