"""The real mesh beside a Compose project, with state of its own; taken down whatever happens."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.processes import output
from meshlite.cli.client import Client
from meshlite.cli.failure import Unreachable
from meshlite.cli.settings import agent_of, server_of
from meshlite.config import Settings, load
from meshlite.model.documents import read
from meshlite.model.wire import ApplyRequest

MESHLITE = Path(sys.executable).parent / "meshlite"


@dataclass(frozen=True)
class Mesh:
    project: str
    environ: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        return load(None, self.environ)

    @property
    def server(self) -> Client:
        return server_of(self.settings)

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        return output([str(MESHLITE), *arguments], stdin=stdin, environ=self.environ)

    def up(self) -> None:
        self.run("up", "-d", "-p", self.project)

    def down(self) -> None:
        self.run("down", "--all")

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = agent_of(self.settings).get("/v1/status")
        return answer

    def pids(self) -> dict[str, int]:
        """Processes of the mesh: server, agent, their supervisor, Envoy."""
        parts = ("server", "agent", "supervisor")
        files = {part: self.settings.paths.run / f"{part}.pid" for part in parts}
        ours = {part: int(file.read_text().split()[0]) for part, file in files.items()}
        return {**ours, "Envoy": int(self.status()["proxy"]["pid"])}

    def request(self, text: str) -> dict[str, Any]:
        """The body of POST /v1/resources for YAML in the project's namespace."""
        reading = read(text, namespace=self.project)
        if reading.rejections:
            raise RuntimeError(f"our own YAML is refused: {reading.rejections[0].reason}")
        return ApplyRequest(documents=reading.documents).model_dump(mode="json")

    def apply(self, text: str) -> None:
        self.server.call("POST", "/v1/resources", self.request(text))


def refuse_beside_another() -> None:
    """RuntimeError where this host has a mesh already: one host carries one, and we would end it."""
    client = server_of(load(None, os.environ))
    try:
        client.get("/v1/health", timeout=2.0)
    except Unreachable:
        return
    raise RuntimeError("a mesh runs on this host; measure on one without: meshlite down --all")


@contextmanager
def mesh(project: str, **settings: str) -> Iterator[Mesh]:
    """A mesh that is not up yet. `settings` become MESHLITE_<NAME>."""
    refuse_beside_another()
    with TemporaryDirectory(prefix="meshlite-bench-state-") as state:
        os.chmod(state, 0o711)
        named = {f"MESHLITE_{name.upper()}": value for name, value in settings.items()}
        made = Mesh(project, {**os.environ, "MESHLITE_STATE_DIR": state, **named})
        try:
            yield made
        except Exception as error:
            error.add_note(_logs(Path(state)))
            raise
        finally:
            made.down()
            _remove_containers(project)


def _remove_containers(project: str) -> None:
    """The engine stops by the wrapper what it started through it, and the wrapper goes with our folder."""
    mine = f"label=com.docker.compose.project={project}"
    if found := output(["docker", "ps", "-aq", "--filter", mine]).split():
        output(["docker", "rm", "-f", *found])


def wait(condition: Any, what: str, seconds: float = 30.0) -> None:
    """Ask until `condition()` is true. RuntimeError if that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


def _logs(state: Path) -> str:
    tails = []
    for log in sorted((state / "log").glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-12:]
        tails.append("\n".join([f"--- {log.name}", *lines]))
    return "\n".join(tails)
