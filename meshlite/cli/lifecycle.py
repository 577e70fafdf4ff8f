"""Starting and ending server and agent on this host: detached processes, or systemd's units where installed.

Detached ones are watched by a supervisor; what starts, replaces or ends them dismisses it first. The units
are used only for settings that they see too: not with --config, not with MESHLITE_* variables.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from meshlite.cli import processes, supervision, supervisor
from meshlite.cli.client import Client
from meshlite.cli.failure import Failure, Unreachable
from meshlite.cli.settings import agent_of, server_of
from meshlite.config import Settings

Name = Literal["server", "agent"]

LAST_LINES = 6

START_SECONDS = 90.0
"""A busy machine needs its time; a part that ends is not waited for."""

SETTINGS_VARIABLES = {
    f"MESHLITE_{name.upper()}" for name in (*Settings.model_fields, "config", "state_dir", "run_dir")
}
"""Variables that change settings, which a unit would not see."""


@dataclass(frozen=True)
class Part:
    """Server or agent of this host: how it is started, asked and ended."""

    name: Name
    client: Client
    probe: str
    pid_file: Path
    log: Path
    arguments: tuple[str, ...] = ()
    config: Path | None = None

    @property
    def unit(self) -> str:
        return f"meshlite-{self.name}.service"

    @property
    def command(self) -> list[str]:
        config = ["--config", str(self.config.resolve())] if self.config else []
        return [sys.executable, "-m", "meshlite", *config, self.name, *self.arguments]

    @property
    def watched(self) -> supervisor.Part:
        """The part as its supervisor sees it."""
        return supervisor.Part(self.name, tuple(self.command), self.log, self.pid_file)

    def by_unit(self) -> bool:
        return not self.config and not self.arguments and has_unit(self.unit)


def server_part(settings: Settings, config: Path | None) -> Part:
    return _part("server", server_of(settings), "/v1/health", settings, config, ())


def agent_part(settings: Settings, config: Path | None, hook: bool = True) -> Part:
    arguments = () if hook else ("--no-hook",)
    return _part("agent", agent_of(settings), "/v1/status", settings, config, arguments)


def _part(
    name: Name,
    client: Client,
    probe: str,
    settings: Settings,
    config: Path | None,
    arguments: tuple[str, ...],
) -> Part:
    paths = settings.paths
    return Part(
        name, client, probe, paths.run / f"{name}.pid", paths.state / "log" / f"{name}.log", arguments, config
    )


def ask(part: Part) -> dict[str, Any] | None:
    """The part's own account of itself; None while nobody answers."""
    try:
        answer: dict[str, Any] = part.client.get(part.probe, timeout=2.0)
    except Unreachable:
        return None
    return answer


def ensure(part: Part, version: str, seconds: float = START_SECONDS) -> str:
    """Have the part run in `version` and answer; says what was done for that. Failure shows its log."""
    answer = ask(part)
    if answer and answer.get("version") == version:
        return "was running"
    mute = not answer and process_of(part) is not None
    done = (
        f"replaced {answer['version']}"
        if answer
        else "started again, as it did not answer"
        if mute
        else "started"
    )
    supervision.dismiss(part.pid_file.parent)
    if answer:
        end(part)
    said_before = supervisor.size(part.log)
    alive = launch(part)
    decided = wait_until(lambda: ask(part) is not None or not alive(), seconds)
    if not decided:
        raise ended(part, f"has not answered within {seconds:.0f} s, but still runs", said_before)
    if ask(part) is None:
        raise ended(part, "did not start", said_before)
    return done


def launch(part: Part) -> Callable[[], bool]:
    """Start the part and return a question: does it still run; a mute process is ended first."""
    if part.by_unit():
        # A restart starts as well, and ends one that is mute.
        systemctl("restart", part.unit)
        return lambda: systemctl("is-failed", part.unit, check=False) != 0
    if mute := process_of(part):
        processes.stop(mute, grace=5.0)
    child = processes.start(part.command, part.log, os.environ, part.pid_file)
    return lambda: child.poll() is None


@contextmanager
def keeping_watch(settings: Settings, *parts: Part) -> Iterator[None]:
    """The block may start and replace the parts; afterwards somebody starts them again if they end."""
    ours = [part.watched for part in parts if not part.by_unit()]
    with supervision.keeping_watch(settings.paths.run, ours):
        yield


def end(part: Part, grace: float = 10.0) -> bool:
    """Stop the part, whoever started it. False if it was not running."""
    if part.by_unit():
        # Asked for in any state: one that has just ended would be started again by its unit.
        systemctl("stop", part.unit)
    process = process_of(part)
    return bool(process) and processes.stop(process, grace) if process else False


def process_of(part: Part) -> processes.Process | None:
    """The part's process by its pid file; where that says nothing, whoever serves the part's socket."""
    return processes.recorded(part.pid_file) or processes.serving(part.client.path)


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Ask again and again until `condition` holds; False if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


@contextmanager
def running(part: Part) -> Iterator[None]:
    """The block needs the part; if it ends meanwhile, that is said with its last words."""
    try:
        yield
    except Unreachable as failure:
        raise ended(part, "has ended") from failure


def ended(part: Part, what: str, said_before: int = 0) -> Failure:
    """The failure of a part that is not there, with the last lines of its log after byte `said_before`."""
    if part.by_unit():
        where, log = f"journalctl -u {part.unit}", journal(part.unit)
    else:
        where, log = str(part.log), _tail(part.log, said_before)
    words = "\n".join(log.splitlines()[-LAST_LINES:])
    return Failure(
        f"the {part.name} {what}", where=where, why=words, next_step="meshlite doctor checks this host"
    )


def _tail(log: Path, start: int) -> str:
    written = log.read_bytes()[start:].decode(errors="replace") if log.exists() else ""
    return written if written.strip() or not log.parent.exists() else supervisor.silence(log)


def journal(unit: str) -> str:
    """What the unit wrote last; empty where that cannot be read."""
    command = ["journalctl", "--unit", unit, "--output", "cat", "--lines", str(LAST_LINES), "--no-pager"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def has_unit(unit: str) -> bool:
    """Whether systemd runs this host and knows `unit`, and the environment asks for no other settings."""
    if not Path("/run/systemd/system").is_dir() or SETTINGS_VARIABLES & set(os.environ):
        return False
    return systemctl("cat", unit, check=False) == 0


def systemctl(verb: str, unit: str, check: bool = True) -> int:
    """Run systemctl and return its exit code; Failure with its words if it fails and `check` is set."""
    try:
        done = subprocess.run(["systemctl", verb, unit], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"systemctl {verb} {unit} did not work", why=str(error)) from error
    if check and done.returncode:
        raise Failure(
            f"systemctl {verb} {unit} failed", why=done.stderr.strip(), next_step=f"journalctl -u {unit}"
        )
    return done.returncode


def need_root(verb: str) -> None:
    """Raise Failure for anybody but root, saying what root is needed for."""
    if os.geteuid() != 0:
        raise Failure(
            f"meshlite {verb} needs root",
            why="it enters the containers' network namespaces and starts the node proxy",
            next_step=f"sudo meshlite {verb} …",
        )
