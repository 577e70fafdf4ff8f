"""The real mesh beside a Compose project: `meshlite up`, its verbs, and what its agent says of itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.docker.compose import ComposeProject

MESHLITE = Path(sys.executable).parent / "meshlite"


@dataclass(frozen=True)
class Mesh:
    """One project in the mesh. `state` is a folder of this test; sockets and ports are the usual ones."""

    project: ComposeProject
    state: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, stdin: str = "", timeout: float = 90) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "MESHLITE_STATE_DIR": str(self.state), **self.environ}
        command = [str(MESHLITE), *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, env=environ
        )

    def __call__(self, *arguments: str, stdin: str = "", timeout: float = 90) -> str:
        """Output of a verb that has to succeed."""
        done = self.run(*arguments, stdin=stdin, timeout=timeout)
        assert done.returncode == 0, (
            f"meshlite {' '.join(arguments)}: {done.stdout}{done.stderr}{self.logs()}"
        )
        return done.stdout

    def up(self, *options: str) -> None:
        self("up", "-d", "-p", self.project.name, *options)

    def down(self) -> None:
        self("down", "--all")

    def apply(self, resources: str) -> None:
        """Apply YAML in the project's namespace, and wait until the proxy has what comes of it."""
        self("apply", "-n", self.project.name, "-f", "-", stdin=resources)
        self._taken()

    def delete(self, kind: str, name: str) -> None:
        self("delete", kind, name, "-n", self.project.name)
        self._taken()

    def _taken(self) -> None:
        wanted = self._version()

        def taken() -> bool:
            status = self.status()
            return bool(status["snapshot"]["version"] == wanted and status["proxy"]["synced"])

        self.eventually(taken, "the proxy has what the server has")
        time.sleep(0.2)  # the agent is told of a version a moment before it begins to wait for the proxy

    def _version(self) -> str:
        """Of the server's state: the first line of what it streams to nodes."""
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(60)
            caller.connect("/run/meshlite/admin.sock")
            caller.sendall(b"GET /v1/snapshots HTTP/1.0\r\n\r\n")
            with caller.makefile("rb") as answer:
                while answer.readline().strip():
                    pass
                return str(json.loads(answer.readline())["version"])

    def status(self) -> dict[str, Any]:
        """The agent's own account."""
        done = subprocess.run(
            ["curl", "-sS", "--unix-socket", "/run/meshlite/agent.sock", "http://agent/v1/status"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def pid(self, part: str) -> int:
        """Process id of `server`, `agent`, `supervisor` or `envoy`."""
        if part == "envoy":
            return int(self.status()["proxy"]["pid"])
        return int(Path(f"/run/meshlite/{part}.pid").read_text().split()[0])

    def kill(self, *parts: str) -> None:
        """kill -9, for good: the supervisor goes first."""
        pids = [self.pid(part) for part in ("supervisor", *parts)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def logs(self) -> str:
        """The last lines of every log, for the message of a failed test."""
        tails = []
        for log in sorted((self.state / "log").glob("*.log")):
            tails.append(
                f"\n--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            )
        return "".join(tails)

    def eventually(self, condition: Callable[[], object], what: str, seconds: float = 60) -> None:
        """Wait until the condition is true; its AssertionErrors count as not yet."""
        deadline, last = time.monotonic() + seconds, ""
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except AssertionError as error:
                last = str(error)
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {what} {last}{self.logs()}")


@contextmanager
def meshed(mesh: Mesh) -> Iterator[Mesh]:
    """Its project runs and is in the mesh; both are taken down whatever happens."""
    try:
        mesh.project.up()
        mesh.up()
        yield mesh
    finally:
        try:
            mesh.down()
        finally:
            mesh.project.down()
