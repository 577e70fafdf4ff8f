"""Programs that are run to their end, and what the kernel counts of those that go on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def output(
    command: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float = 120,
    environ: Mapping[str, str] | None = None,
) -> str:
    """What the command printed. RuntimeError with its own words if it failed."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout, env=environ, check=False
    )
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise RuntimeError(f"{' '.join(command[:6])} failed ({done.returncode}): {words}")
    return done.stdout


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and all their threads so far: proc_pid_stat(5)."""
    return sum(_ticks(Path(f"/proc/{pid}/stat").read_text()) for pid in pids) / TICKS


def _ticks(stat: str) -> int:
    """Fields 14 and 15; the name of the program, field 2, may have spaces and brackets in it."""
    fields = stat[stat.rindex(")") + 2 :].split()
    return int(fields[11]) + int(fields[12])


def resident(pid: int) -> float:
    """Resident memory in MiB: proc_pid_status(5)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")
