"""One running container between two looks: the engine's record and what /proc shows make the workload."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from meshlite.sources.container import Sight, network_mode, parse, stop_signal
from meshlite.sources.engine import Record
from meshlite.sources.holders import sockets_of
from meshlite.sources.process import namespace, started
from meshlite.sources.sockets import Listening, SocketTable

log = logging.getLogger(__name__)

SETTLE_SECONDS = 60.0
"""After this time a workload counts as up even where none of its ports is open."""
STOP_SECONDS = 300.0
"""How long a container may take to end after the signal that stops it, before it counts as staying."""
DOUBT_SECONDS = 15.0
"""The same after SIGINT and SIGQUIT, which some programs take for something else."""
_TICKS = os.sysconf("SC_CLK_TCK")


def look_interval(age: float, up: bool) -> float:
    """Seconds until its ports are looked at again; `age` since its start, `up`: the app listens already.

    A port that opens 300 ms after the start is seen within 20 ms. An app that listens seldom opens
    another port later: those are looked for every 10 s.
    """
    if up:
        return 0.25 if age < 30 else 10.0
    if age < 5:
        return 0.02
    return 0.1 if age < SETTLE_SECONDS else 5.0


def is_up(listening: Iterable[Listening]) -> bool:
    """Whether the app listens. Loopback does not count: the engine's name server is there from the start."""
    return any(not socket.loopback_only for socket in listening)


def next_look(now: float, interval: float) -> float:
    """When that is: on a common beat, so that many workloads cost one awakening."""
    return (now // interval + 1) * interval


def drain_seconds(number: int, record: Record) -> float:
    """How long after this signal the container counts as ending; 0: it is no signal that ends it."""
    if number in (signal.SIGTERM, signal.SIGKILL, _number(stop_signal(record))):
        return STOP_SECONDS
    return DOUBT_SECONDS if number in (signal.SIGINT, signal.SIGQUIT) else 0.0


def _number(name: str) -> int:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` -> the signal's number; 0 for what is none."""
    if name.isdigit():
        return int(name)
    base, _, offset = name.upper().removeprefix("SIG").partition("+")
    try:
        return int(signal.Signals[f"SIG{base}"]) + int(offset or 0)
    except (KeyError, ValueError):
        return 0


class Tracked:
    """A container with its process. `early`: the engine has not yet reported its start.

    Raises ProcessLookupError where the process is gone. To be closed when the container is forgotten.
    """

    def __init__(
        self,
        record: Record,
        pid: int,
        node: str,
        early: bool = False,
        proc: Path = Path("/proc"),
        ours: frozenset[int] = frozenset(),
    ) -> None:
        self.record = record
        self.pid = pid
        self.early = early
        self.next_look = 0.0
        self._node = node
        self._proc = proc
        self._ours = ours
        self._token = started(pid, proc)
        if not self._token:
            raise ProcessLookupError(f"process {pid} has ended")
        self._namespace = namespace(pid, network_mode(record).startswith("container:"), proc)
        self._draining_until = 0.0
        self._table = self._open_table()
        self._heard: dict[int, frozenset[Listening]] = {}
        self._own: dict[int, bool] = {}
        self._mixed = False
        self._sight = self._seen(time.monotonic())
        self.found = parse(record, node, self._sight)

    @property
    def alive(self) -> bool:
        return started(self.pid, self._proc) == self._token

    def close(self) -> None:
        if self._table is not None:
            self._table.close()

    def renew(self, record: Record) -> bool:
        """Take the engine's newer record of the same start; True where the workload changed by it."""
        self.record, self.early = record, False
        return self._publish()

    def signalled(self, number: int) -> bool:
        """The engine sends it a signal; True where that ends it."""
        seconds = drain_seconds(number, self.record)
        if not seconds:
            return False
        self._draining_until = max(self._draining_until, time.monotonic() + seconds)
        return self.look(time.monotonic())

    def look(self, now: float) -> bool:
        """Read its sockets again; True where the workload changed by it."""
        sight = self._seen(now)
        if sight == self._sight:
            return False
        self._sight = sight
        return self._publish()

    def same_start(self, record: Record) -> bool:
        """Whether `record` speaks of the very process that is tracked here."""
        return bool((record.get("State") or {}).get("Pid") == self.pid and self.alive)

    def _publish(self) -> bool:
        found, self.found = self.found, parse(self.record, self._node, self._sight)
        return found != self.found

    def _seen(self, now: float) -> Sight:
        sockets = self._sockets()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(self._token, 16) / _TICKS
        self.next_look = next_look(now, look_interval(age, is_up(sockets or ())))
        return Sight(
            started=self._token,
            namespace=self._namespace,
            listening=sockets,
            settled=age > SETTLE_SECONDS,
            draining=now < self._draining_until,
            mixed=self._mixed,
        )

    def _sockets(self) -> frozenset[Listening] | None:
        """What listens, or did so before: an app that reopens its port keeps it meanwhile."""
        if self._table is None:
            return None
        now = {one for one in self._told_apart(self._table.read()) if one.port not in self._ours}
        for port in {listening.port for listening in now}:
            self._heard[port] = frozenset(listening for listening in now if listening.port == port)
        return frozenset().union(*self._heard.values())

    def _told_apart(self, table: Mapping[int, Listening]) -> Iterable[Listening]:
        """Its own sockets, in a namespace that it shares; all, where they cannot be told from others'.

        The namespace's owner answers for all of them: its address is theirs.
        """
        if self._namespace is None or not self._namespace.joined:
            return table.values()
        if table.keys() - self._own.keys():
            held = sockets_of(self.record["Id"], self.pid, self._proc)
            self._mixed = held is None
            self._own = {inode: held is None or inode in held for inode in table}
        return [listening for inode, listening in table.items() if self._own[inode]]

    def _open_table(self) -> SocketTable | None:
        """None where its sockets cannot be told from others', or cannot be asked for."""
        if self._namespace is None or network_mode(self.record) == "host":
            return None
        try:
            return SocketTable(self._namespace.path)
        except OSError as error:
            log.warning("the open ports of process %d are not known: %s", self.pid, error)
            return None
