"""The server process: builds all parts, connects them, serves, and takes everything down again."""

from __future__ import annotations

import asyncio
import fcntl
import grp
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aiohttp import web

from meshlite.config import Settings
from meshlite.log import to_stderr
from meshlite.server import tls
from meshlite.server.access import AccessBook
from meshlite.server.admission import admission
from meshlite.server.api import GROUP_ID, PARTS, CallersFaults, errors_as_json, install
from meshlite.server.audit import open_audit
from meshlite.server.auth import GROUP
from meshlite.server.authorities import open_book
from meshlite.server.call import Parts
from meshlite.server.clock import Clock
from meshlite.server.condition import Condition
from meshlite.server.enrolment import Enrolment
from meshlite.server.events import Events
from meshlite.server.key_sets import KeySets
from meshlite.server.mesh_settings import mesh_settings
from meshlite.server.mirror import Mirror
from meshlite.server.registry import Registry
from meshlite.server.resources import ResourceBook
from meshlite.server.rotation import Rotation
from meshlite.server.store import Conflict, Store, Unavailable
from meshlite.server.store.sqlite import open_sqlite
from meshlite.server.stream import Readers, encoder
from meshlite.server.throttle import Throttle

SHUTDOWN = 5.0
"""Seconds that calls under way have to finish when the server stops."""

PRUNE_EVERY = 3600.0
_log = logging.getLogger("meshlite.server")

SETTINGS = web.AppKey("settings", Settings)


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises RuntimeError, OSError or ValueError: a sentence for people."""
    to_stderr()
    logging.getLogger("aiohttp.server").addFilter(CallersFaults())
    folder = settings.paths.database.parent
    _make_folders(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _alone(folder):
        try:
            await serve(settings, stop, lambda: None)
        except Unavailable as error:
            raise RuntimeError(str(error)) from error


async def serve(settings: Settings, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until `stop` is set; `ready` is called once every call is answered."""
    app = application(settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN, handle_signals=False)
    with _local_socket(settings.paths.admin_socket) as local:
        await runner.setup()
        try:
            served = tls.Served(app[PARTS].rotation.book, settings.server_address)
            await web.SockSite(runner, local).start()
            await _listen(runner, settings, served.listening)
            _say_ready(settings, runner, app[PARTS])
            ready()
            keep = _keep_certificate(app[PARTS], served)
            keys = app[PARTS].key_sets.keep()
            await _until(stop, keep, keys, _expire(app[PARTS]), _prune(app[PARTS]))
        finally:
            await runner.cleanup()


async def _until(stop: asyncio.Event, *jobs: Coroutine[None, None, None]) -> None:
    """Do the jobs, which have no end, until told to stop."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(job) for job in jobs]
        await stop.wait()
        _log.info("stopping")
        for task in running:
            task.cancel()


async def _listen(runner: web.AppRunner, settings: Settings, context: ssl.SSLContext) -> None:
    host, port = settings.server_address, settings.ports.server
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}") from error


def application(settings: Settings) -> web.Application:
    """All routes, over parts that are made when the application starts and closed when it ends."""
    app = web.Application(middlewares=[errors_as_json])
    app[SETTINGS] = settings
    app[GROUP_ID] = _group_id()
    app.cleanup_ctx.append(_parts)
    app.on_shutdown.append(_end_streams)
    install(app)
    return app


async def _parts(app: web.Application) -> AsyncIterator[None]:
    store = await open_sqlite(app[SETTINGS].paths.database)
    try:
        app[PARTS] = await assemble(app[SETTINGS], store, Clock())
        yield
        with suppress(Unavailable):
            await app[PARTS].events.keep(store)
    finally:
        await store.close()


async def assemble(settings: Settings, store: Store, clock: Clock) -> Parts:
    """The parts over a store, with what the store holds."""
    folder, lifetime = settings.paths.database.parent, settings.certificate_hours * 3600
    authorities = open_book(folder, settings.trust_domain, lifetime, clock)
    events, mirror = Events(clock), Mirror(store)
    await events.load(store)
    await mirror.load()
    condition = Condition(mirror, store, events)
    condition.tell()
    registry = Registry(
        mirror,
        events,
        clock,
        settings.trust_domain,
        settings.virtual_network,
        settings.lease_seconds,
        settings.outbound_traffic_policy,
        mesh_settings(settings),
        settings.service_linger_seconds,
        lifetime,
        lambda: authorities.trust,
    )
    registry.start()
    resources = ResourceBook(
        mirror,
        store,
        events,
        clock,
        admission(),
        lambda: registry.snapshots.value,
        registry.publish,
        registry.status_of,
    )
    key_sets = KeySets(mirror, events, clock, registry.publish)
    enrolment = Enrolment(mirror, store, registry, authorities, events, clock)
    access = AccessBook(mirror, events, clock, lambda: authorities.current.pin)
    rotation = Rotation(authorities, registry, mirror, store, events)
    audit = await open_audit(mirror, store, clock, settings.audit_entries)
    return Parts(
        registry,
        resources,
        enrolment,
        access,
        rotation,
        audit,
        events,
        clock,
        clock.wall(),
        encoder(),
        key_sets,
        condition,
        Throttle(clock),
        Readers(lambda: registry.published, clock),
    )


async def _end_streams(app: web.Application) -> None:
    app[PARTS].streams.end()


# --- what goes on in the background ---


async def _expire(parts: Parts) -> None:
    """Look at leases often enough that none lasts a tenth longer than it should."""
    pause = min(1.0, parts.registry.lease_seconds / 10)
    while True:
        before = parts.clock.monotonic()
        await asyncio.sleep(pause)
        if (late := parts.clock.monotonic() - before - pause) > pause:
            parts.registry.forgive(late)
        await parts.registry.expire()
        await parts.condition.look()


async def _keep_certificate(parts: Parts, served: tls.Served) -> None:
    while True:
        await parts.clock.until(served.renew_at)
        served.renew()
        _log.info("new server certificate")


async def _prune(parts: Parts) -> None:
    while True:
        try:
            await parts.enrolment.prune()
            await parts.access.prune()
            await parts.rotation.prune()
        except (Unavailable, Conflict) as error:
            _log.error("expired certificates are not removed yet: %s", error)
        await asyncio.sleep(PRUNE_EVERY)


# --- the process and its surroundings ---


def _make_folders(settings: Settings) -> None:
    """State is for the owner only; the run folder is entered by the node proxy's user too."""
    settings.paths.database.parent.mkdir(parents=True, exist_ok=True)
    settings.paths.database.parent.chmod(0o700)
    settings.paths.run.mkdir(parents=True, exist_ok=True)
    settings.paths.run.chmod(0o755)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the state folder; the kernel lets go of it however the process ends."""
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            reason = f"another meshlite server (process {holder}) already uses {folder}: stop it first"
            raise RuntimeError(reason) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _local_socket(path: Path) -> Iterator[socket.socket]:
    """A listening socket for root, and for the group of admins where it exists. A dead one is replaced."""
    if _answers(path):
        raise RuntimeError(f"{path}: another server answers there: stop it, or set another run folder")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Nobody else may connect before the mode is set.
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    if (group := _group_id()) >= 0:
        os.chown(path, -1, group)
    path.chmod(0o660)
    own = path.stat().st_ino
    try:
        yield listener
    finally:
        listener.close()
        if path.exists() and path.stat().st_ino == own:
            path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _group_id() -> int:
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return -1


def _say_ready(settings: Settings, runner: web.AppRunner, parts: Parts) -> None:
    bound = next(address for address in runner.addresses if not isinstance(address, str))
    nodes = len(parts.registry.nodes())
    sys.stderr.write(
        f"meshlite server ready: https://{bound[0]}:{bound[1]} and {settings.paths.admin_socket} "
        f"({nodes} nodes, snapshot {parts.registry.snapshots.value.version[:12]})\n"
    )
    sys.stderr.flush()
