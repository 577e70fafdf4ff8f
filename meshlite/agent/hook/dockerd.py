"""The engine's own process: where it reads its configuration, its command line, how to reload it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

OUR_FLAGS = ("--default-runtime", "--add-runtime")
"""What stands on the command line must not stand in daemon.json too: the engine would refuse to start."""


@dataclass(frozen=True)
class Dockerd:
    """A running engine, seen from outside. `search`: its PATH."""

    pid: int
    arguments: tuple[str, ...]
    search: str

    def flag(self, name: str) -> str:
        """The value of a flag; "" where it is not given."""
        for position, argument in enumerate(self.arguments):
            if argument.startswith(f"{name}="):
                return argument.partition("=")[2]
            if argument == name:
                return " ".join(self.arguments[position + 1 : position + 2])
        return ""

    @property
    def conflict(self) -> str:
        """A flag that keeps us from using daemon.json; "" where there is none."""
        return next((name for name in OUR_FLAGS if self.flag(name)), "")

    def config_file(self, default: Path) -> Path:
        """Where it reads its configuration; links are followed, so that the file itself is edited."""
        return Path(self.flag("--config-file") or default).resolve()

    def program(self, name: str) -> str:
        """The full path of a program as the engine would find it; the name itself where it finds none."""
        return shutil.which(name, path=self.search) or shutil.which(name) or name

    def reload(self) -> None:
        """Have it read its configuration again. Raises OSError."""
        os.kill(self.pid, signal.SIGHUP)


def find(pid_files: Sequence[Path], proc: Path = Path("/proc")) -> Dockerd | None:
    """The engine by its pid file; without one the only process of that name, if there is just one."""
    for file in pid_files:
        try:
            pid = int(file.read_text())
        except (OSError, ValueError):
            continue
        if _name(proc, pid) == "dockerd":
            return _of(proc, pid)
    pids = [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]
    engines = [pid for pid in pids if _name(proc, pid) == "dockerd"]
    return _of(proc, engines[0]) if len(engines) == 1 else None


def _name(proc: Path, pid: int) -> str:
    try:
        return (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def _of(proc: Path, pid: int) -> Dockerd | None:
    try:
        arguments = (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        environment = (proc / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    if not any(arguments):
        return None  # it has ended, and nobody has taken notice yet
    search = next((item.removeprefix("PATH=") for item in environment if item.startswith("PATH=")), "")
    return Dockerd(pid, tuple(arguments), search)
