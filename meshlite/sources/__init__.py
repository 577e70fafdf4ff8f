"""Where workloads come from. Each source yields the full current set, again after every change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from meshlite.model.workload import Found


class Source(Protocol):
    """One kind of place that workloads run in: one file here and one row in the agent's list."""

    name: str

    def watch(self) -> AsyncIterator[tuple[Found, ...]]:
        """The complete set at once and after each change, coalesced. Reconnects by itself, never ends."""
        ...
