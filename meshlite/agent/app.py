"""The node agent: builds its parts, connects them, and ends them. The only place that knows them all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket

from meshlite import log as logs
from meshlite.agent import hook, launch_plan, memory, proxy
from meshlite.agent.admin import Admin
from meshlite.agent.capture import Capture
from meshlite.agent.certs import Certificates
from meshlite.agent.credentials import Credentials
from meshlite.agent.metrics import Timings
from meshlite.agent.modules import Modules
from meshlite.agent.reconcile import Reconciler
from meshlite.agent.status import Status
from meshlite.agent.sweep import swept
from meshlite.agent.upstream import Upstream
from meshlite.agent.xds import XdsServer
from meshlite.config import Settings
from meshlite.places import keep_node, kept_node
from meshlite.sources import Source
from meshlite.sources.docker import DockerSource
from meshlite.sources.engine import Engine
from meshlite.sources.files import FilesSource

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
HOOK_SECONDS = 5.0
"""How long `down` lets captured connections come to an end."""


async def run(settings: Settings, token: str = "") -> None:
    """Serve until SIGTERM or SIGINT, which leave Envoy and rules in place, or until told to leave the host.

    `token`: to join a server on another host. Raises OSError, ValueError or RuntimeError in a sentence where
    the agent cannot work at all.
    """
    logs.to_stderr()
    memory.be_frugal()
    _go_by_one_name(settings)
    parts = Agent(settings, token)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, parts.stop, False)
    try:
        await parts.serve()
    except* (OSError, ValueError, RuntimeError) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def _go_by_one_name(settings: Settings) -> None:
    """A host that is renamed later keeps its name in the mesh: certificate, projects and callers know it."""
    host = socket.gethostname()
    if settings.node == kept_node(settings.paths.state) and settings.node != host:
        log.info("this host is called %s; in the mesh it goes by %s, as before", host, settings.node)
    try:
        settings.paths.state.mkdir(parents=True, exist_ok=True)
        keep_node(settings.paths.state, settings.node)
    except OSError as error:
        log.warning("this host's name in the mesh is not kept: %s", error)


class Agent:
    """The parts, in the order that data flows through them."""

    def __init__(self, settings: Settings, token: str) -> None:
        self.settings = settings
        plan = launch_plan.plan_of(settings)
        launch_plan.prepare(plan)
        self.timings = Timings()
        self.engine = Engine(settings.paths.docker_socket)
        ports = settings.ports
        self.containers = DockerSource(
            self.engine, settings.node, ours=frozenset({ports.outbound, ports.inbound})
        )
        self.source: Source = (
            FilesSource(settings.workloads, settings.node) if settings.workloads else self.containers
        )
        self.upstream = Upstream(settings, token, lambda: self.status.document())
        self.certificates = Certificates(self.upstream.sign)
        self.credentials = Credentials(settings.paths.credentials)
        self.capture = Capture(settings)
        self.proxy = proxy.Proxy(plan)
        self.xds = XdsServer(
            settings.paths.xds_socket,
            settings.proxy_uid,
            self.timings.propagation.observe,
            lambda: self.proxy.status.state == "running",
        )
        self.modules = Modules(settings.paths.modules, settings.paths.credentials)
        self.reconciler = Reconciler(
            settings,
            self.capture,
            self.xds,
            self.upstream,
            self.certificates,
            self.modules,
            self.timings,
            self.credentials,
        )
        self.status = Status(
            settings, self.proxy, self.xds, self.upstream, self.certificates, self.timings, self.reconciler
        )
        self.admin = Admin(self.status, self.proxy.admin, self.stop)
        self._stopped: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def stop(self, leave: bool) -> None:
        """End soon; with `leave`, take everything back first."""
        if not self._stopped.done():
            self._stopped.set_result(leave)

    async def serve(self) -> None:
        """Run all parts until stopped. One that fails ends the agent: its supervisor starts it again."""
        socket = self.settings.paths.agent_socket
        async with self.admin.serving(socket, self.settings.ports.agent), self.xds.serving():
            await self.capture.start()
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(work)
                    for work in (
                        self.proxy.supervise(),
                        self.reconciler.run(),
                        self._discover(),
                        self.upstream.run(),
                        self.certificates.run(),
                        self.credentials.run(self.xds.secrets),
                        self.modules.run(),
                        self._hooked(),
                        memory.give_back_after_start(),
                    )
                ]
                leave = await self._stopped
                log.info("leaving the host" if leave else "stopping; the node proxy goes on")
                if leave:
                    await self._take_back()
                for task in running:
                    task.cancel()
            self.capture.close()
            if leave:
                found = await swept(self.settings)
                for text in found.removed:
                    log.info("removed: %s", text)
                for text in filter(None, (*found.stays, found.entered)):
                    log.warning(text)

    async def _discover(self) -> None:
        async for founds in self.source.watch():
            self.reconciler.found(founds)

    async def _hooked(self) -> None:
        """Answer the runtime's hook, and have the engine use it."""
        async with self._answering():
            if self.settings.hook and self.settings.workloads is None:
                await self._hook()
            else:
                self.status.hook = hook.HookState(False, "turned off by the settings")
            await asyncio.Event().wait()

    async def _hook(self) -> None:
        """Have the engine use the hook; one that is away is asked again."""
        said = ""
        while True:
            state = self.status.hook = await hook.install(self.settings, self.engine)
            if not state.active and state.reason != said:
                log.warning(state.reason)
                said = state.reason
            if not state.passing:
                return
            await asyncio.sleep(HOOK_SECONDS)

    def _answering(self) -> contextlib.AbstractAsyncContextManager[object]:
        return hook.HookServer(self.settings.paths.hook_socket, self._announced)

    async def _announced(self, container: str, pid: int) -> None:
        """A container is about to start: have it captured before it does."""
        found = await self.containers.found_early(container, pid)
        if found is not None:
            await self.reconciler.bring_in(found)

    async def _take_back(self) -> None:
        """Workloads first, while everything still works: new connections go direct, the others may end."""
        await self.reconciler.leave_all()
        self.upstream.report(())
        await self.proxy.drain(DRAIN_SECONDS)
