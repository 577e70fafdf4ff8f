"""Compose projects that belong to a measurement, and the pair of client and server that most of them need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.processes import output

IMAGE = "meshlite/test:latest"
HTTP, TCP = 9080, 9090
STREAM = "/stream"
"""A file of 1 MiB; everything else is a short text."""

_NGINX = f"""
daemon off; user root; worker_processes 1; pid /tmp/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 600s;
  server {{
    listen {HTTP}; listen {TCP}; root /tmp;
    location / {{ return 200 "a short text, as an answer of a small service might be\\n"; }}
    location = {STREAM} {{ }}
  }}
}}
"""

SERVER: dict[str, Any] = {
    "image": IMAGE,
    "environment": {"CONFIG": _NGINX},
    "command": [
        "sh",
        "-c",
        f"head -c 1048576 /dev/zero >/tmp{STREAM}; "
        'echo "$$CONFIG" >/tmp/nginx.conf; exec nginx -c /tmp/nginx.conf',
    ],
    "labels": {"meshlite.ports": f"http:{HTTP},tcp:{TCP}"},
    "stop_grace_period": "1s",
}
CLIENT: dict[str, Any] = {"image": IMAGE, "command": ["sleep", "infinity"], "init": True}
PAIR = {"client": CLIENT, "server": SERVER}


@dataclass(frozen=True)
class Container:
    """A running container: process of its app, first address, hosts file."""

    id: str
    pid: int
    address: str
    hosts: Path

    def resolve(self, name: str) -> str:
        """The address that the container's hosts file has for a name. LookupError where it has none."""
        for line in self.hosts.read_text().splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            if name in names and ":" not in address:
                return address
        raise LookupError(f"no address for {name} in the container's hosts file: it is not in the mesh")


@dataclass(frozen=True)
class Project:
    name: str
    file: Path

    def compose(self, *arguments: str) -> str:
        whole = ("docker", "compose", "--progress", "quiet", "-p", self.name, "-f", str(self.file))
        return output([*whole, *arguments], timeout=300)

    def container(self, service: str) -> Container:
        return container(self.compose("ps", "-q", service).split()[0])


def container(id: str) -> Container:
    facts = json.loads(output(["docker", "inspect", id]))[0]
    address = next(iter(facts["NetworkSettings"]["Networks"].values()))["IPAddress"]
    return Container(facts["Id"], facts["State"]["Pid"], address, Path(facts["HostsPath"]))


@contextmanager
def project(name: str, services: dict[str, Any], *options: str) -> Iterator[Project]:
    """A started project, removed with all that belongs to it."""
    with TemporaryDirectory(prefix="meshlite-bench-") as folder:
        file = Path(folder) / "compose.json"
        file.write_text(json.dumps({"services": services}))
        started = Project(f"meshlite-bench-{name}", file)
        try:
            started.compose("up", "-d", *options)
            yield started
        finally:
            started.compose("down", "-v", "-t", "0", "--remove-orphans")
