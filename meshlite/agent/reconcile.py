"""The agent's one loop: what is found and what the mesh says, translated, published, and captured to match.

The loop itself never waits for the kernel, Envoy or the server: attaching, capturing and leaving are tasks of
their own that report back as one more change.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any

from meshlite.agent import ads, certs, gateways, keys, overlay
from meshlite.agent.capture import Capture, CaptureError, Mode
from meshlite.agent.certs import Certificates, Handed
from meshlite.agent.credentials import Credentials
from meshlite.agent.follower import Follower
from meshlite.agent.memory import collector_at_rest
from meshlite.agent.metrics import Timings
from meshlite.agent.modules import Modules
from meshlite.agent.peers import peers
from meshlite.agent.picture import Names, Picture
from meshlite.agent.upstream import Upstream
from meshlite.agent.xds import XdsServer
from meshlite.config import Settings
from meshlite.model.mesh import NodeRecord, Problem
from meshlite.model.workload import Found, Workload
from meshlite.sources import process
from meshlite.translate.translate import Translator
from meshlite.translate.translation import Encoded
from meshlite.watch import Watch

log = logging.getLogger(__name__)

COALESCE_SECONDS = 0.004
"""The first change goes at once; those that follow within this time go together."""

EFFECT_SECONDS = 2.0
"""How long Envoy may take to acknowledge before we look again."""

LEAVE_SECONDS = 5.0
"""How long a workload that leaves and lives on keeps the connections that are captured."""

_LATE = (
    "it started before it was captured, since this host was too busy; a restart closes what it opened then"
)

CHECK_SECONDS = 30.0
RETRY_SECONDS = (0.5, 30.0)


class Reconciler:
    """Keeps Envoy and the kernel as the mesh wants them on this node."""

    def __init__(
        self,
        settings: Settings,
        capture: Capture,
        xds: XdsServer,
        upstream: Upstream,
        certificates: Certificates,
        modules: Modules,
        timings: Timings,
        credentials: Credentials,
    ) -> None:
        self._settings, self._capture, self._xds = settings, capture, xds
        self._upstream, self._certificates, self._timings = upstream, certificates, timings
        self._credentials = credentials
        own = process.namespace(os.getpid())
        self._ipv6 = own is not None and own.ipv6
        self._modules = modules
        self._own_ports = {port: f"ports.{name} in meshlite.yaml" for name, port in settings.ports}
        self._translator = Translator()
        self._founds: tuple[Found, ...] | None = None
        self._early: set[str] = set()
        self._late: dict[str, str] = {}
        self._dirty = asyncio.Event()
        self._since = 0.0
        self._published = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._drained: set[str] = set()
        self._secrets: Mapping[str, Encoded] = {}
        self._handed = self._published_handed = self._effective = Handed()
        self._leaving = False
        self._told: object = ()
        self.reasons: dict[str, str] = {}
        self._follower = Follower(capture, xds, self.reasons)
        self.picture = Picture()
        self.captured: Watch[frozenset[str]] = Watch(frozenset())

    # What comes in

    def changed(self) -> None:
        """Something is different; look at everything soon."""
        if not self._dirty.is_set():
            self._since = time.monotonic()
        self._dirty.set()

    def found(self, founds: tuple[Found, ...]) -> None:
        """The source's full current set."""
        self._founds = founds
        self.changed()

    async def bring_in(self, found: Found) -> None:
        """Return when a container that is about to start is captured, or need not be.

        Whoever stops waiting lets it start as it is, which is told for as long as it runs.
        """
        if self._leaving or found.namespace is None or not overlay.members((found,), self._record):
            return
        self._early.add(found.workload.id)
        self._late.pop(found.workload.id, None)
        captured = self.captured.value
        try:
            while not self._holds(found.namespace.key, captured):
                captured = await self.captured.next(captured)
        except asyncio.CancelledError:
            self._late[found.workload.id] = found.workload.name
            raise

    @property
    def pending(self) -> bool:
        """A change is known that is not published yet."""
        return self._dirty.is_set() or self.picture.snapshot.version != self._upstream.snapshot.value.version

    # The loop

    async def run(self) -> None:
        """Ends only when cancelled."""
        # What a former agent captured is captured still.
        self.captured.set(frozenset(key for key, held in self._capture.attached.items() if held.rules))
        async with asyncio.TaskGroup() as tasks:
            self._group = tasks
            tasks.create_task(self._settling())
            tasks.create_task(self._checking())
            tasks.create_task(self._following_losses())
            tasks.create_task(self._following_mesh())
            tasks.create_task(self._following_certificates())
            tasks.create_task(self._following(self._credentials.held))
            tasks.create_task(self._following(self._modules.held))
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                since = self._since
                if self._founds is not None and self._upstream.snapshot.value.version and not self._leaving:
                    self._step(self._founds, since)
                await asyncio.sleep(COALESCE_SECONDS)

    async def _following_mesh(self) -> None:
        async for snapshot in self._upstream.snapshot:
            if self._certificates.follow(snapshot.trust):
                self._secure()
            self.changed()

    async def _following_losses(self) -> None:
        async for _ in self._capture.losses:
            self._published.set()

    async def _following_certificates(self) -> None:
        async for _ in self._certificates.held:
            self._secure()

    def _secure(self) -> None:
        """Hand out certificates and roots as they are now."""
        held, roots = self._certificates.held.value, self._certificates.trust.roots
        self._secrets = certs.secrets(held, roots)
        signers = frozenset(one.signer for one in held.values() if one.certificate)
        self._handed = Handed(keys.pins(roots), signers)
        self.changed()

    async def _following(self, files: Watch[Any]) -> None:
        async for _ in files:
            self.changed()

    def _step(self, founds: tuple[Found, ...], since: float) -> None:
        """Decide and publish. A fault in translating leaves what is published."""
        members = overlay.members(founds, self._record)
        self._forget({found.workload.id for found in founds} | self._capture.attached.keys())
        self._attach_new(members)
        self._detach_old(founds, members)
        staying = (*members, *overlay.leavers(founds, members, self._held_spaces))
        began = time.monotonic()
        try:
            own = tuple(self._workload(found) for found in staying)
            snapshot = overlay.effective(self._upstream.snapshot.value, self._settings, own)
            view = overlay.view(self._settings, staying, self._capture.attached, self._ipv6)
            view = replace(view, modules=self._modules.held.value)
            with collector_at_rest():
                translation = self._translator.translate(snapshot, view)
        except Exception as error:
            log.exception("translating failed; what was published stays")
            self.picture = replace(self.picture, problem=f"translating failed: {error!r}")
            return
        self._timings.translation.observe(time.monotonic() - began)
        by_address = peers(snapshot.services, founds, staying, self._settings.virtual_network6)
        self.picture = Picture(snapshot, view, translation, staying, by_address)
        secrets = {**self._secrets, **self._credentials.secrets}
        self._xds.publish({**translation.resources, ads.SECRET: secrets}, since)
        self._published_handed = self._handed
        self._upstream.report(tuple(self._workload(found) for found in members))
        trust_domain = snapshot.trust_domain
        self._certificates.want(
            frozenset(str(w.identity(trust_domain)) for w in (found.workload for found in members))
        )
        self._modules.want(translation.modules)
        self._tell()
        self._published.set()

    def _forget(self, known: set[str]) -> None:
        """What was noted of workloads that are gone."""
        self._follower.forget(known)
        for noted in (self.reasons, self._failures):
            for name in noted.keys() - known:
                del noted[name]
        self._early &= known
        self._late = {key: name for key, name in self._late.items() if key in known}

    @property
    def _record(self) -> NodeRecord | None:
        return self._upstream.snapshot.value.node(self._settings.node)

    def _workload(self, found: Found) -> Workload:
        """The source's record, with what we know of its capture."""
        captured = found.namespace is not None and self._holds(found.namespace.key, self.captured.value)
        reason = found.workload.reason or self.reasons.get(found.workload.id, "")
        place = found.workload.locality or self._settings.locality
        return found.workload.model_copy(update={"captured": captured, "reason": reason, "locality": place})

    def _holds(self, namespace: str, keys: frozenset[str]) -> bool:
        held = self._capture.of_namespace(namespace)
        return held is not None and held.key in keys

    # Coming

    def _attach_new(self, members: tuple[Found, ...]) -> None:
        """One task for each namespace that is not attached: its owner first, or whoever is in the mesh."""
        for found in sorted(members, key=overlay.owners_first):
            if found.namespace is None:
                continue
            namespace = found.namespace.key
            held = self._capture.of_namespace(namespace)
            if held is not None and held.key in self._drained:
                self._stay(held.key)
            if held is None and namespace not in self._tasks:
                self._start(namespace, self._attach(found))

    async def _attach(self, found: Found) -> None:
        workload = found.workload
        early = Mode() if workload.id in self._early else None
        try:
            replicas = self.picture.peers.of(found.namespace.key) if found.namespace else {}
            await self._capture.attach(found, early, replicas)
        except (CaptureError, OSError) as error:
            self.reasons[workload.id] = str(error)
            failures = self._failures[workload.id] = self._failures.get(workload.id, 0) + 1
            log.warning(
                "a workload is not captured: %s", error, extra={"fields": {"workload": workload.name}}
            )
            first, longest = RETRY_SECONDS
            await asyncio.sleep(min(first * 2 ** (failures - 1), longest))
        else:
            self.reasons.pop(workload.id, None)
            self._failures.pop(workload.id, None)

    def _start(self, name: str, work: Coroutine[object, object, None]) -> None:
        """A task of its own for a namespace; its end is one more change."""
        task = self._group.create_task(self._guarded(work))
        self._tasks[name] = task

        def done(_: asyncio.Task[None]) -> None:
            self._tasks.pop(name, None)
            self.changed()

        task.add_done_callback(done)

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        """Trouble with one container stays with it."""
        try:
            await work
        except Exception:
            log.exception("a step for one workload failed; the others go on")
            await asyncio.sleep(RETRY_SECONDS[0])

    # Being there

    async def _settling(self) -> None:
        """After each publication: once Envoy has it, have the kernel and the hosts files follow."""
        while True:
            await self._published.wait()
            self._published.clear()
            effective = await self._xds.caught_up(EFFECT_SECONDS, self._awaited())
            picture = self.picture
            names = picture.names(
                overlay.dual_stack(self._founds or (), self._capture.attached),
                self._settings.virtual_network6,
            )
            await asyncio.gather(
                *(self._follow_up(key, picture, found, effective) for key, found in names.items())
            )
            if effective:
                self._effective = self._published_handed
            self._tell()
            self._look_again()
            alive = self.captured.value & self._capture.attached.keys()
            if alive != self.captured.value:
                self.captured.set(frozenset(alive))
            if not effective:
                self._published.set()

    def _awaited(self) -> list[frozenset[str]]:
        """The listeners of each who is not captured yet: it need not wait for what the others are told."""
        coming = self._capture.attached.keys() - self.captured.value - self.reasons.keys()
        return [self.picture.listeners(key) for key in coming]

    async def _follow_up(self, key: str, picture: Picture, names: Names, effective: bool) -> None:
        """Rules and names of one attachment. One whose listener is not open is not captured anew."""
        open = effective or self._xds.open(self.picture.listeners(key))
        closed = key not in self.captured.value and (self._follower.refused(key) or not open)
        if closed or key in self._tasks:
            return
        followed = await self._follower.follow(key, picture, names)
        if followed and key not in self.captured.value:
            self.captured.set(self.captured.value | {key})
            self._early.discard(key)
            self.changed()

    def _look_again(self) -> None:
        """When the next of those that wait is due."""
        if (due := self._follower.due) is not None:
            seconds = max(0.01, due - time.monotonic())
            asyncio.get_running_loop().call_later(seconds, self._published.set)

    async def _checking(self) -> None:
        """Others may take away what we made, and engines rewrite hosts files."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            with contextlib.suppress(CaptureError, OSError):
                await self._capture.check()
            self._published.set()

    # Going

    def _detach_old(self, founds: tuple[Found, ...], members: tuple[Found, ...]) -> None:
        """Attached namespaces in which nobody of the mesh lives any more."""
        wanted = {found.namespace.key for found in members if found.namespace}
        running = {found.namespace.key for found in founds if found.namespace}
        for key, held in list(self._capture.attached.items()):
            if held.namespace in wanted or held.key in self._tasks:
                continue
            self._start(key, self._leave(key) if held.namespace in running else self._bury(key))

    @property
    def _held_spaces(self) -> frozenset[str]:
        """Namespaces whose workloads are served, also until their new connections go another way."""
        held = self._capture.attached.values()
        return frozenset(one.namespace for one in held if one.key not in self._drained)

    async def _leave(self, key: str) -> None:
        """It lives on without the mesh: first its new connections go direct, then the listener closes."""
        await self._capture.drain(key)
        self._drained.add(key)
        self.captured.set(self.captured.value - {key})
        self.changed()
        await asyncio.sleep(LEAVE_SECONDS)
        await self._capture.detach(key)
        self._drained.discard(key)

    async def _bury(self, key: str) -> None:
        """It has ended: its listener closes, then link and mount go, which keep its namespace alive."""
        self.captured.set(self.captured.value - {key})
        await self._xds.caught_up(EFFECT_SECONDS)
        await self._capture.detach(key)
        self.reasons.pop(key, None)

    def _stay(self, key: str) -> None:
        """It comes back before it has left."""
        if task := self._tasks.get(key):
            task.cancel()
        self._drained.discard(key)

    async def leave_all(self) -> None:
        """Nobody is captured any more; connections that are captured live on as long as Envoy does."""
        self._leaving = True
        for task in list(self._tasks.values()):
            task.cancel()
        for key in list(self._capture.attached):
            with contextlib.suppress(CaptureError, OSError):
                await self._capture.drain(key)
        self.captured.set(frozenset())

    def _tell(self) -> None:
        """Those who look from elsewhere hear at once of what is wrong, and that it is no more."""
        wrong = (self.problems, self._xds.rejections, self.trusted)
        if wrong != self._told:
            self._told = wrong
            self._upstream.tell()

    @property
    def trusted(self) -> Handed:
        """By which roots peers are checked, and whose certificates are shown: as far as the proxy has it.

        While it is being told, only roots that were and are handed out, and signers of before and now.
        """
        had, gets = self._effective, self._handed
        return Handed(had.roots & gets.roots, had.signers | gets.signers)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong on this node, and with whom."""
        translation = self.picture.translation
        closed = gateways.unopened(translation.gateways, self._xds.rejections, self._own_ports)
        secrets = self._credentials.problems_of(translation.resources)
        late = (Problem(resource=name, reason=_LATE) for name in self._late.values())
        return (
            *self._upstream.problems,
            *self.picture.problems(self._founds or ()),
            *secrets,
            *closed,
            *late,
        )
