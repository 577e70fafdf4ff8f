"""The outcome of one check."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """`detail`: what was found. `advice`: what to do about it; empty where all is well."""

    level: Literal["ok", "warn", "fail"]
    detail: str
    advice: str = ""


def ok(detail: str) -> Finding:
    return Finding("ok", detail)


def warn(detail: str, advice: str) -> Finding:
    return Finding("warn", detail, advice)


def fail(detail: str, advice: str) -> Finding:
    return Finding("fail", detail, advice)


@dataclass(frozen=True)
class Outcome:
    """Exit code and words of a program; code -1 where it could not be run at all."""

    code: int
    text: str


def run(command: Sequence[str], stdin: str = "") -> Outcome:
    """Run a program for at most ten seconds; never raises."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=10)
    except FileNotFoundError:
        return Outcome(-1, f"{command[0]} is not installed")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Outcome(-1, str(error))
    return Outcome(done.returncode, (done.stdout if done.returncode == 0 else done.stderr).strip())
