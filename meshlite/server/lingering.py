"""Services behind which nothing stands any more: how long they are remembered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping


class Lingering:
    """Callers of a service whose only replica restarts get 503, not an unknown name; for a while.

    Services of a project that left the mesh go at once, and those that resources name stay.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[str, float] = {}
        """Service without workloads -> monotonic time since when."""
        self._left: set[str] = set()

    def since(self, name: str, moment: float) -> None:
        """Nothing has stood behind the service since this monotonic time, which may be before the start."""
        self._since[name] = moment

    def long(self, seconds: float) -> bool:
        """Whether that is longer than anything is remembered for."""
        return seconds >= self._seconds

    def projects(self, former: Collection[str], meshed: Collection[str]) -> None:
        """A node's projects changed: `former` were its, `meshed` are in the mesh now, on any node."""
        self._left = (self._left | set(former)) - set(meshed)

    def over(
        self, idle: Mapping[str, str], now: float, named: Callable[[], Collection[str]]
    ) -> Iterator[str]:
        """Who is to be forgotten of all that have no workload: FQDN -> namespace."""
        self._since = {name: self._since.get(name, now) for name in idle}
        due = {name for name, since in self._since.items() if now - since >= self._seconds}
        gone = due.difference(named()) if due else due
        return (name for name, place in idle.items() if place in self._left or name in gone)
