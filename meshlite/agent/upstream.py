"""The way to the central server: what runs here goes up, snapshots and certificates come down.

Nothing on this node waits for it: the last snapshot is on disk, and every call is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import ValidationError

from meshlite.agent import enrolment
from meshlite.agent.address import reachable_at
from meshlite.agent.certs import SPREAD_SECONDS, refresh_at
from meshlite.agent.enrolment import SERVER_NAME, NodeFiles, Refused, checked, write_private
from meshlite.config import Settings
from meshlite.model.delta import merge
from meshlite.model.mesh import Problem, Snapshot, Trust
from meshlite.model.wire import Certificate, Delta, Lease, Report, SignRequest
from meshlite.model.workload import Workload
from meshlite.watch import Watch

log = logging.getLogger(__name__)

SILENCE_SECONDS = 15.0
"""A stream without a heartbeat for so long is broken."""

SKEW_SECONDS = 30.0
"""From here on clocks that differ are a problem."""

SAVE_SECONDS = 1.0
STATUS_SECONDS = 10.0
NEWS_SECONDS = 0.2
"""What changes within this time is told together."""
BACK_OFF = (0.1, 3.0)

_JSON = {"Content-Type": "application/json"}
_FAILURES = (aiohttp.ClientError, OSError, TimeoutError, Refused, ValueError)


@dataclass(frozen=True)
class Link:
    """How it stands with the server. `since`: seconds since 1970 of the last change; `error`: why not."""

    url: str
    connected: bool = False
    since: float = 0.0
    error: str = ""


class Upstream:
    """`snapshot` holds the latest known mesh (from disk at first), `link` the state of the connection.

    `refused`: what the server left out of the last report, and why.
    """

    def __init__(self, settings: Settings, token: str, status: Callable[[], dict[str, Any]]) -> None:
        self._settings, self._token, self._status = settings, token, status
        self._file = settings.paths.agent_state / "snapshot.json"
        self._files = NodeFiles(settings.paths.agent_state)
        self._url = enrolment.url_of(settings)
        self._workloads: Watch[tuple[Workload, ...] | None] = Watch(None)
        self._session: aiohttp.ClientSession | None = None
        self._reported = asyncio.Event()
        self._news = asyncio.Event()
        self._trust: Watch[Trust | None] = Watch(None)
        """What the server says on this connection; None until it has spoken."""
        self.snapshot = Watch(read(self._file))
        self.from_disk = bool(self.snapshot.value.version)
        self.received = 0.0
        self.refused: tuple[Problem, ...] = ()
        self.skew: float | None = None
        """Seconds by which this host's clock is ahead of the server's, from the last report."""
        self.link = Link(self._url, since=time.time())

    def report(self, workloads: tuple[Workload, ...]) -> None:
        """Tell the server soon what runs here: the full set."""
        self._workloads.set(workloads)

    def tell(self) -> None:
        """Send the node's status soon: what is wrong has changed."""
        self._news.set()

    async def sign(self, identity: str, csr: str) -> Certificate:
        """A certificate for a workload of this node. Raises ConnectionError where it cannot be had now."""
        if self._session is None:
            raise ConnectionError("the server is not reached")
        # The server signs only for workloads that it was told of.
        async with asyncio.timeout(10):
            await self._reported.wait()
        try:
            answer = await self._call("POST", "/v1/certificates", SignRequest(identity=identity, csr=csr))
        except _FAILURES as error:
            raise ConnectionError(said(error)) from error
        return Certificate.model_validate(answer)

    async def run(self) -> None:
        """Join, then follow, report and renew, again and again; ends only when cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._saving())
            waits, stranger = pauses(*BACK_OFF), False
            while True:
                joining = stranger or not self._files.complete
                try:
                    await self._joined(anew=stranger)
                    stranger = False
                    await self._connected()
                except* _FAILURES as group:
                    error = first(group)
                    if self.link.connected:
                        waits = pauses(*BACK_OFF)
                    self._note(False, said(error))
                    stranger = not joining and self._unknown(error)
                await asyncio.sleep(next(waits))

    async def _joined(self, anew: bool) -> None:
        """Have a certificate for the name that this node goes by; another one where it does not count."""
        former, name = self._files.node, self._settings.node
        if self._files.complete and not anew:
            if former in ("", name):
                return
            await enrolment.rename(self._settings, self._token, former)
            log.warning("this node was %s before and is %s now", former, name)
        else:
            await enrolment.join(self._settings, self._token)
        log.info("this node has joined the mesh", extra={"fields": {"server": self._url}})

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the server took not, and a clock that goes wrong."""
        if self.skew is None or abs(self.skew) < SKEW_SECONDS:
            return self.refused
        where = "ahead of" if self.skew > 0 else "behind"
        reason = (
            f"its clock is {abs(self.skew):.0f} s {where} the server's; certificates are dated, and from "
            "300 s on they are refused: set it (timedatectl set-ntp true)"
        )
        return (*self.refused, Problem(resource=f"node {self._settings.node}", reason=reason))

    @property
    def joined(self) -> bool:
        return self._files.complete

    @property
    def signer(self) -> str:
        """Who signed the node's own certificate (see model.mesh.Trust)."""
        return self._files.signer

    async def _connected(self) -> None:
        """One connection's life; ends with the first failure, or when certificate or roots are others."""
        connector = aiohttp.TCPConnector(ssl=self._files.context(), limit=16)
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            self._session = session
            self._trust.set(None)
            try:
                async with asyncio.TaskGroup() as tasks:
                    others = [
                        tasks.create_task(work)
                        for work in (self._follow(session), self._reporting(), self._telling())
                    ]
                    await self._renewed(session)
                    for other in others:
                        other.cancel()
            finally:
                self._session = None
                self._reported.clear()

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        """Read the snapshot stream, from the version we have."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_SECONDS)
        async with session.get(
            f"{self._url}/v1/snapshots",
            params={"version": self.snapshot.value.version},
            timeout=timeout,
            server_hostname=SERVER_NAME,
        ) as answer:
            if answer.status >= 400:
                await checked(answer)
            async for line in lines(answer):
                self.snapshot.set(merge(self.snapshot.value, Delta.model_validate_json(line)))
                self._trust.set(self.snapshot.value.trust)
                self.received, self.from_disk = time.time(), False
                self._note(True)
        raise ConnectionError("the server ended the snapshot stream")

    async def _reporting(self) -> None:
        """The report is also the lease's renewal: sent at every change, and three times in a lease."""
        while True:
            workloads = await self._workloads.next(None)
            assert workloads is not None
            path = f"/v1/nodes/{self._settings.node}/workloads"
            where = await asyncio.to_thread(reachable_at, self._settings)
            report = Report(workloads=workloads, address=where, tunnel=self._settings.ports.tunnel)
            asked = time.time()
            lease = Lease.model_validate(await self._call("PUT", path, report))
            self.refused = lease.refused
            self.skew = (asked + time.time()) / 2 - lease.time if lease.time else None
            self._reported.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(lease.seconds / 3):
                    await self._workloads.next(workloads)

    async def _telling(self) -> None:
        """The node's status for those who look from elsewhere; a refusal of it is no reason to reconnect."""
        path = f"{self._url}/v1/nodes/{self._settings.node}/status"
        while True:
            await self._reported.wait()
            assert self._session is not None
            self._news.clear()
            async with self._session.put(path, json=self._status(), server_hostname=SERVER_NAME) as answer:
                if answer.status >= 400:
                    log.debug("the server does not take this node's status: %s", answer.status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATUS_SECONDS):
                    await self._news.wait()
            await asyncio.sleep(NEWS_SECONDS)

    async def _renewed(self, session: aiohttp.ClientSession) -> None:
        """Return when there are other roots, or the node's certificate was renewed: around half of its life,
        or soon where another authority signs now."""
        waits, trust = pauses(1.0, 60.0), self._trust.value
        due = refresh_at(*self._files.lifetime(), random.random())
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - time.time())):
                    trust = await self._trust.next(trust)
            if trust is not None and self._files.trust(trust.roots):
                return
            if trust is not None and trust.signer not in ("", self._files.signer):
                due = min(due, time.time() + random.uniform(0.0, SPREAD_SECONDS))
            if time.time() < due:
                continue
            try:
                await enrolment.renew(self._settings, session)
                return
            except _FAILURES as error:
                log.warning("the node's certificate is not renewed yet: %s", said(error))
                due = time.time() + next(waits)

    async def _call(self, method: str, path: str, body: Any) -> object:
        if self._session is None:
            raise ConnectionError("the server is not reached")
        text = body.model_dump_json().encode()
        async with self._session.request(
            method, self._url + path, data=text, headers=_JSON, server_hostname=SERVER_NAME
        ) as answer:
            return await checked(answer)

    def _unknown(self, error: BaseException) -> bool:
        """Whether to join again: a server that was set up anew does not know us, nor we its root.

        What we have is kept until that succeeds: the failure may be in between, or pass.
        """
        stranger = isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError) or (
            isinstance(error, Refused) and error.status == 401
        )
        if again := stranger and bool(self._token or not self._settings.server):
            log.warning("the server does not know this node any more; joining again")
        return again

    def _note(self, connected: bool, error: str = "") -> None:
        if (connected, error) == (self.link.connected, self.link.error):
            return
        (log.info if connected else log.warning)(
            "the server is reached" if connected else "the server is not reached; this node goes on alone",
            extra={"fields": {"server": self._url} | ({"why": error} if error else {})},
        )
        self.link = replace(self.link, connected=connected, since=time.time(), error=error)

    async def _saving(self) -> None:
        """Keep the last snapshot on disk, at most once a second; first it is to take effect."""
        async for _ in self.snapshot:
            await asyncio.sleep(SAVE_SECONDS)
            if self.snapshot.value.version and not self.from_disk:
                self.save()

    def save(self) -> None:
        """A full disk costs the snapshot of the next start, not this one."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_private(self._file, self.snapshot.value.model_dump_json().encode())
        except OSError as error:
            log.warning("the snapshot is not kept on disk: %s", error)


def read(file: Path) -> Snapshot:
    """The snapshot on disk; an empty one where there is none that can be read."""
    try:
        return Snapshot.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Snapshot()
    except (OSError, ValidationError) as error:
        log.warning("the snapshot on disk cannot be used: %s", error)
        return Snapshot()


async def lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Complete lines of a stream, of any length."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            if line.strip():
                yield line


def pauses(shortest: float, longest: float) -> Iterator[float]:
    """Seconds to wait between tries: doubling, and jittered so that many nodes do not come at once."""
    pause = shortest
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(pause * 2, longest)


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group, which is the one that ended the others."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def said(error: BaseException) -> str:
    """A failure in words."""
    words = str(error) or type(error).__name__
    dated = "certificate is not yet valid" in words or "certificate has expired" in words
    return f"{words}; compare this host's clock with the server's" if dated else words
