"""What was last published of this node, what it was made from, and what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from meshlite.agent import ads, overlay
from meshlite.agent.capture import Attached
from meshlite.agent.peers import Peers
from meshlite.model import external
from meshlite.model.mesh import Problem, Snapshot
from meshlite.model.workload import Found
from meshlite.translate.node import NodeView
from meshlite.translate.translation import Translation

Names = Mapping[str, tuple[str, ...]]
"""Entries of a hosts file: address -> names."""


@dataclass(frozen=True)
class Picture:
    """`found`: the containers in it. `problem`: why the newest state could not be translated."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    view: NodeView = field(default_factory=lambda: NodeView(name=""))
    translation: Translation = field(default_factory=lambda: Translation({}))
    found: tuple[Found, ...] = ()
    peers: Peers = field(default_factory=lambda: Peers({}, {}, {}))
    problem: str = ""

    def names(self, dual: Collection[str], network6: str) -> dict[str, Names]:
        """What each attachment finds in its hosts file; those in `dual` with IPv6 forms (`network6`)."""
        homes = {found.workload.id: found.workload.namespace for found in self.found}
        wanted = {
            item.key: (homes[item.owner], network6 if item.key in dual else "")
            for item in self.view.attachments
        }
        declared = external.read(self.snapshot.resources)
        made = {one: overlay.hosts(self.snapshot, declared, *one) for one in {*wanted.values()}}
        return {key: made[one] for key, one in wanted.items()}

    def listeners(self, key: str) -> frozenset[str]:
        """The names of an attachment's listeners; none where nothing of it was translated."""
        wanted = self.translation.resources.get(ads.LISTENER, {})
        return frozenset(wanted.keys() & {f"outbound/{key}", f"inbound/{key}"})

    def bound(self, held: Attached) -> dict[int, str]:
        """Ports of an attachment that listen on one address only; see Found."""
        residents = (f for f in self.found if f.namespace and f.namespace.key == held.namespace)
        return {port: address for found in residents for port, address in found.bound.items()}

    def problems(self, running: Iterable[Found]) -> tuple[Problem, ...]:
        """What is wrong with resources, and with what containers say of themselves, in or out of the mesh."""
        own = [Problem(resource="agent", reason=self.problem)] if self.problem else []
        inside = {found.workload.id for found in self.found}
        doubtful = [
            Problem(resource=found.workload.name, reason=found.doubt)
            for found in running
            if found.doubt and found.workload.id not in inside
        ]
        return (*own, *self.translation.problems, *doubtful)
