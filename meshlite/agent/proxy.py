"""Runs the node proxy: starts, adopts, watches, hot-restarts and ends Envoy, which outlives the agent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from meshlite.agent.envoy_admin import EnvoyAdmin
from meshlite.agent.launch_plan import PARENT_SECONDS, Plan, alone, prepare, spawn
from meshlite.agent.process import Process

log = logging.getLogger(__name__)

LIVE_SECONDS = 30.0
MAX_LOG_BYTES = 10 * 1024 * 1024
HOUSEKEEPING_SECONDS = 30.0
STABLE_SECONDS = 10.0

State = Literal["starting", "running", "backing-off", "stopped"]


@dataclass(frozen=True)
class Instance:
    """One started Envoy. `fingerprint` tells whether it was started as it would be today."""

    process: Process
    epoch: int
    fingerprint: str


@dataclass(frozen=True)
class Record:
    """What is known of our Envoys, kept in a file that the proxy's user cannot write.

    `retiring`: replaced ones, with the time (seconds since 1970) by which they should have ended.
    """

    current: Instance | None = None
    retiring: tuple[tuple[Process, float], ...] = ()

    @classmethod
    def read(cls, file: Path) -> Record:
        """The record without processes that have ended; an unreadable file says nothing."""
        try:
            raw = json.loads(file.read_text())
            old = raw["current"]
            current = Instance(Process(**old["process"]), old["epoch"], old["fingerprint"]) if old else None
            retiring = tuple((Process(**process), until) for process, until in raw["retiring"])
        except (OSError, ValueError, KeyError, TypeError):
            return cls()
        return cls(
            current if current and current.process.alive else None,
            tuple((process, until) for process, until in retiring if process.alive),
        )

    def write(self, file: Path) -> None:
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)))
        fresh.replace(file)

    @property
    def processes(self) -> tuple[Process, ...]:
        retiring = tuple(process for process, _ in self.retiring)
        return ((self.current.process,) if self.current else ()) + retiring


@dataclass(frozen=True)
class Status:
    """The node proxy as people see it."""

    state: State = "stopped"
    pid: int = 0
    epoch: int = 0
    restarts: int = 0
    started: float = 0.0
    version: str = ""
    error: str = ""


def pauses() -> Iterator[float]:
    """Seconds to wait before each start, while Envoy keeps ending: 0.05, 0.1, … 5, 5, …"""
    pause = 0.05
    while True:
        yield pause
        pause = min(pause * 2, 5.0)


class Proxy:
    """Keeps one Envoy of the planned kind running."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.admin = EnvoyAdmin(plan.settings.paths.proxy_admin_socket)
        self.status = Status()
        self._record = Record.read(plan.record)
        self._log_start = 0

    async def supervise(self) -> None:
        """Adopt or start Envoy and start it again whenever it ends. Being cancelled leaves Envoy running."""
        prepare(self.plan)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._housekeeping())
            waits = pauses()
            while True:
                began = time.monotonic()
                try:
                    instance = await self._ensure()
                    await instance.process.ended()
                    why = self._last_words()
                except (OSError, RuntimeError) as error:
                    why = str(error)
                if time.monotonic() - began > STABLE_SECONDS:
                    waits = pauses()
                log.warning("the node proxy ended", extra={"fields": {"why": why}})
                restarts = self.status.restarts + 1
                self.status = Status("backing-off", restarts=restarts, error=why)
                await asyncio.sleep(next(waits))

    async def _ensure(self) -> Instance:
        """A live Envoy: the one that runs, replaced if it is not as planned; else a new one."""
        self._record = Record.read(self.plan.record)
        current = self._record.current
        if current is None:
            return await self._begin(0)
        if current.fingerprint == self.plan.fingerprint:
            self._log_start = size(self.plan.log)
            await self._live(current)
            log.info("adopted the running node proxy", extra={"fields": {"pid": current.process.pid}})
            return current
        return await self._replace(current)

    async def _replace(self, old: Instance) -> Instance:
        """Hot restart: the new Envoy takes over the sockets. Where it does not come up, the old one stays."""
        if not await self._can_take_over(old):
            log.warning("this Envoy cannot take over from the one that runs; connections will break")
            await asyncio.to_thread(end, old.process)
            self._remember(replace(self._record, current=None))
            return await self._begin(0)
        before = self._record
        try:
            new = await self._begin(old.epoch + 1)
        except RuntimeError as error:
            log.error("hot restart failed, the former Envoy goes on", extra={"fields": {"why": str(error)}})
            self._remember(before)
            await self._live(old)
            self.status = replace(self.status, error=f"hot restart failed: {error}")
            return old
        log.info("hot restart done", extra={"fields": {"epoch": new.epoch, "pid": new.process.pid}})
        return new

    async def _can_take_over(self, old: Instance) -> bool:
        """Both Envoys speak the same hot restart protocol. An old one that does not say is taken to."""
        if not self.plan.shared_memory.exists():
            return False
        check = await asyncio.create_subprocess_exec(
            str(self.plan.binary),
            "--hot-restart-version",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await check.communicate()
        try:
            running = (await self.admin.document("/server_info"))["hot_restart_version"]
        except ConnectionError:
            return old.process.alive
        return str(running) == output.decode().strip()

    async def _begin(self, epoch: int) -> Instance:
        """Start Envoy and wait until it serves. RuntimeError with its last words if it does not."""
        self.plan.config.write_text(self.plan.bootstrap)
        os.chown(self.plan.config, -1, self.plan.settings.proxy_uid)
        self.plan.config.chmod(0o640)
        self.status = replace(self.status, state="starting")
        self._log_start = size(self.plan.log)
        retired = ((old.process, time.time() + PARENT_SECONDS),) if (old := self._record.current) else ()
        retiring = (*self._record.retiring, *retired)
        nobody_yet = Instance(Process(0, 0), epoch, self.plan.fingerprint)
        process = await spawn(self.plan, epoch, asdict(Record(nobody_yet, retiring)))
        if process is None:
            raise RuntimeError(self._last_words())
        instance = replace(nobody_yet, process=process)
        self._remember(Record(instance, retiring))
        await self._live(instance)
        return instance

    async def _live(self, instance: Instance) -> None:
        """Wait until this very Envoy says that it serves."""
        self.status = replace(
            self.status, state="starting", pid=instance.process.pid, epoch=instance.epoch, started=time.time()
        )
        deadline = time.monotonic() + LIVE_SECONDS
        while instance.process.alive:
            with contextlib.suppress(ConnectionError, KeyError):
                info = await self.admin.document("/server_info", timeout=1.0)
                ours = info["command_line_options"].get("restart_epoch", 0) == instance.epoch
                if ours and info["state"] == "LIVE":
                    self._serving(instance, str(info["version"]))
                    return
            if time.monotonic() > deadline:
                self._serving(instance, "", "it runs, but has not taken its configuration yet")
                return
            await asyncio.sleep(0.02)
        raise RuntimeError(self._last_words())

    def _last_words(self) -> str:
        return last_line(self.plan.log, self._log_start) or "Envoy ended without a word; something killed it"

    def _serving(self, instance: Instance, version: str, error: str = "") -> None:
        number = version.split("/")[1] if "/" in version else version
        self.status = Status(
            "starting" if error else "running",
            instance.process.pid,
            instance.epoch,
            self.status.restarts,
            time.time(),
            number,
            error,
        )

    def _remember(self, record: Record) -> None:
        self._record = record
        record.write(self.plan.record)

    async def _housekeeping(self) -> None:
        """Keep the log small, and end replaced Envoys whose successor did not live to do it."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            rotate(self.plan.log)
            for process, until in self._record.retiring:
                if time.time() > until + HOUSEKEEPING_SECONDS:
                    process.signal(signal.SIGTERM)

    async def drain(self, seconds: float) -> None:
        """Have Envoy end its connections politely; returns when none is left, or after `seconds`."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self.admin.post("/drain_listeners?graceful&skip_exit")
            async with asyncio.timeout(seconds):
                while await self._open_connections():  # noqa: ASYNC110 - Envoy has no call that waits
                    await asyncio.sleep(0.1)

    async def _open_connections(self) -> int:
        """Connections from workloads: those of listeners, without the admin's own."""
        answer = (await self.admin.get("/stats?filter=^listener[.].*downstream_cx_active$")).decode()
        counts = (line.rsplit(": ", 1) for line in answer.splitlines() if "admin" not in line)
        return sum(int(count) for _, count in counts)


def end(process: Process, grace: float = 5.0) -> bool:
    """SIGTERM, then after `grace` seconds SIGKILL. False if it had ended before."""
    if not process.alive:
        return False
    process.signal(signal.SIGTERM)
    if not process.wait(grace):
        process.signal(signal.SIGKILL)
        process.wait(grace)
    return True


def remove(plan: Plan) -> list[str]:
    """End all our Envoys and take away their files; says what there was. Works without an agent, blocks."""
    removed = []
    with alone(plan) if plan.lock.parent.exists() else contextlib.nullcontext():
        for process in Record.read(plan.record).processes:
            if end(process):
                removed.append(f"node proxy, process {process.pid}")
        for file in (plan.record, plan.config, plan.lock, plan.shared_memory):
            file.unlink(missing_ok=True)
    if plan.folder.exists():
        shutil.rmtree(plan.folder, ignore_errors=True)
        removed.append(f"sockets in {plan.folder}")
    return removed


def rotate(file: Path) -> None:
    """Keep one old log. It is copied and emptied, since Envoy holds the file open for appending."""
    if size(file) > MAX_LOG_BYTES:
        shutil.copyfile(file, file.with_suffix(".log.1"))
        os.truncate(file, 0)


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def last_line(file: Path, start: int = 0) -> str:
    """The last line of a log after byte `start`, or nothing."""
    end = size(file)
    if end <= start:
        return ""
    with file.open("rb") as opened:
        opened.seek(max(start, end - 4096))
        lines = opened.read().decode(errors="replace").splitlines()
    return lines[-1].strip()[:500] if lines else ""
