"""A Compose project that belongs to one test: started, asked, and always removed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ComposeProject:
    """`file` under the project name `name`; every call raises AssertionError with the command's own words."""

    name: str
    file: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def compose(self, *arguments: str, timeout: float = 90) -> str:
        project = ("docker", "compose", "--progress", "quiet", "-p", self.name, "-f", str(self.file))
        return run(*project, *arguments, timeout=timeout, environ=self.environ)

    def up(self, *arguments: str) -> None:
        self.compose("up", "-d", *arguments)

    def down(self) -> None:
        self.compose("down", "-v", "-t", "1", "--remove-orphans")

    def forget(self) -> None:
        """Remove what the engine has under that name, also where the Compose file is gone."""
        run("docker", "compose", "-p", self.name, "down", "-v", "-t", "1", "--remove-orphans")

    def exec(self, service: str, *command: str, index: int = 1, timeout: float = 60) -> str:
        """What the command printed in that replica, without the last line's end."""
        replica = ("--index", str(index), service)
        return self.compose("exec", "-T", *replica, *command, timeout=timeout).rstrip("\n")

    def curl(self, service: str, url: str, *options: str, index: int = 1) -> tuple[int, str]:
        """Status and body of a request made inside a replica; status 0 is a connection that failed."""
        script = 'body=$(curl -sS -m 20 -w "\\n%{http_code}" "$@" 2>/dev/null); echo "${body:-\n0}"'
        answer = self.exec(service, "sh", "-c", script, "sh", *options, url, index=index)
        body, _, status = answer.rpartition("\n")
        return int(status), body

    def container(self, service: str, index: int = 1) -> str:
        """Full id of a replica."""
        ids = {(c["service"], c["index"]): str(c["id"]) for c in self.containers()}
        return ids[service, index]

    def containers(self) -> list[dict[str, Any]]:
        """Running and ended containers of the project: id, name, service, index, running, health."""
        ids = self.compose("ps", "-aq").split()
        return (
            [described(container) for container in json.loads(run("docker", "inspect", *ids))] if ids else []
        )

    def port(self, service: str, port: int) -> str:
        """Where the host publishes that port, as address:port."""
        return self.compose("port", service, str(port)).strip()


def described(container: Mapping[str, Any]) -> dict[str, Any]:
    labels, state = container["Config"]["Labels"], container["State"]
    return {
        "id": container["Id"],
        "name": container["Name"].removeprefix("/"),
        "service": labels["com.docker.compose.service"],
        "index": int(labels["com.docker.compose.container-number"]),
        "running": state["Running"],
        "health": state.get("Health", {}).get("Status", ""),
    }


def run(*command: str, timeout: float = 90, environ: Mapping[str, str] | None = None) -> str:
    """Output of a command that has to succeed."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env={**os.environ, **(environ or {})}
    )
    assert done.returncode == 0, (
        f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done.stdout
