"""Calls made from inside containers, since what happens in there is what the mesh sees."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meshlite.cli.engine import Container
from meshlite.cli.failure import Failure

PROGRAM = Path(__file__).with_name("calls.py")
LIFETIME_SECONDS = 300


@dataclass(frozen=True)
class Call:
    """What came of one call; status 0 is no answer, and `error` says why."""

    status: int
    version: str
    seconds: float
    error: str


def calls(container: str, url: str, count: int, headers: Mapping[str, str] | None = None) -> tuple[Call, ...]:
    """`count` calls from within `container`, one after another. Failure if they cannot be made there."""
    command = ["exec", "-i", container, "python3", "-", url, str(count), json.dumps(dict(headers or {}))]
    return tuple(Call(**row) for row in json.loads(docker(command, PROGRAM.read_text())))


def versions(made: Sequence[Call]) -> dict[str, int]:
    """How many calls each version answered; what failed is counted by its status."""
    counted = Counter(call.version if call.status == 200 else f"failed ({call.status})" for call in made)
    return dict(sorted(counted.items()))


@contextmanager
def stranger(beside: Container) -> Iterator[str]:
    """A container outside the mesh, with network and image of `beside`; its name. Gone at the end."""
    name = f"{beside.project}-stranger"
    docker(["rm", "-f", name])
    sleep = f"import time; time.sleep({LIFETIME_SECONDS})"
    options = ["--rm", "--name", name, "--network", beside.networks[0], "--label", "meshlite.enable=false"]
    docker(["run", "-d", *options, beside.image, "python3", "-c", sleep])
    try:
        yield name
    finally:
        docker(["rm", "-f", name])


def docker(arguments: Sequence[str], stdin: str = "") -> str:
    """The output of a docker command. Failure with its words if it fails; rm may fail."""
    try:
        done = subprocess.run(
            ["docker", *arguments], input=stdin, capture_output=True, text=True, timeout=120
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"docker {arguments[0]} did not work", why=str(error)) from error
    if done.returncode and arguments[0] != "rm":
        raise Failure(f"docker {' '.join(arguments[:3])} … failed", why=done.stderr.strip()[-400:])
    return done.stdout
