"""Which workloads people mean by a name: the same for every verb that takes one."""

from __future__ import annotations

from collections.abc import Iterable

from meshlite.model.names import qualified_names
from meshlite.model.workload import Workload

SHORTEST_ID = 12
"""So many characters of an id are enough; the engine shows no less."""


def called(name: str, workloads: Iterable[Workload]) -> tuple[Workload, ...]:
    """By id, container name, or any name of the service; where nobody has it, by alias.

    Aliases are what Compose calls it: its service there, and what a network names it.
    """
    known = tuple(workloads)
    found = tuple(one for one in known if _is(one, name))
    return found or tuple(one for one in known if name in one.aliases)


def _is(one: Workload, name: str) -> bool:
    if name in (one.id, one.name, one.service, *qualified_names(one.service, one.namespace)):
        return True
    return len(name) >= SHORTEST_ID and one.id.startswith(name)
