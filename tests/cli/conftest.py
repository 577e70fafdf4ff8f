"""A real server process over folders of its own, with two services reported, for the verbs to talk to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner, Result

from meshlite.cli.client import Client
from meshlite.cli.failure import Failure
from meshlite.cli.main import root
from meshlite.model.mesh import Resource
from meshlite.model.wire import Report
from meshlite.model.workload import Port, Workload

NODE = "test-node"


@dataclass(frozen=True)
class Mesh:
    """A running server: its settings file, its admin socket, and the command line against it."""

    config: Path
    run_dir: Path

    @property
    def server(self) -> Client:
        return Client(self.run_dir / "admin.sock", "the server", "")

    def cli(self, *arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(root, ["--config", str(self.config), *arguments], input=stdin)

    def projects(self, *names: str) -> None:
        body = {"projects": list(names), "everything": False}
        self.server.call("PUT", f"/v1/nodes/{NODE}/projects", body)

    def report(self, *workloads: Workload) -> None:
        body = Report(workloads=workloads).model_dump(mode="json")
        self.server.call("PUT", f"/v1/nodes/{NODE}/workloads", body)


def workload(service: str, version: str = "v1", **changes: Any) -> Workload:
    """A healthy, captured workload of namespace shop."""
    fields: dict[str, Any] = {
        "id": f"{service}-{version}",
        "node": NODE,
        "name": f"shop-{service}-{version}-1",
        "service": service,
        "namespace": "shop",
        "version": version,
        "labels": {"app": service, "version": version},
        "ports": (Port(number=9080, protocol="http", origin="label"),),
        "addresses": ("172.18.0.2",),
        "captured": True,
    }
    return Workload.model_validate(fields | changes)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server_process() -> Iterator[Mesh]:
    # Not pytest's own folder: a socket's path may have no more than 107 bytes.
    with TemporaryDirectory(prefix="ml-", dir="/tmp") as folder:
        place = Path(folder)
        config = place / "meshlite.yaml"
        config.write_text(
            f"node: {NODE}\nlease_seconds: 600\nports: {{server: {free_port()}}}\n"
            f"paths: {{state: {place}/state, run: {place}/run, daemon_json: {place}/daemon.json}}\n"
        )
        command = [sys.executable, "-m", "meshlite", "--config", str(config), "server"]
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)
        mesh = Mesh(config, place / "run")
        try:
            wait_for(mesh, process, place / "log")
            yield mesh
        finally:
            process.terminate()
            process.wait(60)


def wait_for(mesh: Mesh, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            mesh.server.get("/v1/health")
            return
        except Failure:
            time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


@pytest.fixture
def mesh(server_process: Mesh) -> Mesh:
    """The server with project shop: reviews in three versions and ratings; no resources."""
    server = server_process.server
    for row in server.get("/v1/resources")["resources"]:
        server.call("DELETE", f"/v1/resources/{Resource.model_validate(row).key}")
    server_process.projects("shop")
    reviews = [workload("reviews", version) for version in ("v1", "v2", "v3")]
    server_process.report(*reviews, workload("ratings"))
    return server_process
