"""A real engine, an image with real clients and servers, and Compose projects that leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from tests.docker.compose import ComposeProject, run

ROOT = Path(__file__).parents[2]

PREFIX = "meshlitetest-"
"""What the names of the tests' own Compose projects begin with."""

MakeProject = Callable[..., ComposeProject]


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """This machine's engine, installed and started where there is none; one started here is ended."""
    was_running = engine_answers()
    prepare("setup", "engine")
    remove_forgotten()
    client = docker.from_env()
    yield client
    client.close()
    if not was_running:
        prepare("engine", "release")


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """An image with python3, curl, nc, ip, socat, openssl, nginx, databases, and grpcio, websockets, h2."""
    prepare("image", "test")
    return "meshlite/test:latest"


@pytest.fixture
def compose_project(image: str, tmp_path: Path) -> Iterator[MakeProject]:
    """Call it with a Compose file, or its content, to have the project started under a name of its own."""
    with ExitStack() as projects:

        def make(
            source: Path | Mapping[str, Any],
            *,
            name: str | None = None,
            environ: Mapping[str, str] | None = None,
            up: bool = True,
        ) -> ComposeProject:
            name = name or f"{PREFIX}{uuid.uuid4().hex[:8]}"
            project = ComposeProject(name, compose_file(source, image, tmp_path / name), environ or {})
            projects.callback(project.down)
            if up:
                project.up()
            return project

        yield make


def compose_file(source: Path | Mapping[str, Any], image: str, folder: Path) -> Path:
    """Written where the content was given; services without an image then get the test image."""
    if isinstance(source, Path):
        return source
    defaults = {"image": image, "init": True}
    services = {name: {**defaults, **service} for name, service in source["services"].items()}
    folder.mkdir()
    file = folder / "compose.yaml"
    file.write_text(yaml.safe_dump({**source, "services": services}, sort_keys=False))
    return file


def remove_forgotten() -> None:
    """Projects of a run that was cut off: their containers would go on using what tests expect to be gone."""
    for project in json.loads(run("docker", "compose", "ls", "-a", "--format", "json")):
        if project["Name"].startswith(PREFIX):
            ComposeProject(project["Name"], Path()).forget()


def engine_answers() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def prepare(script: str, *arguments: str) -> None:
    """Run one of scripts/. One that fails is a failed test, except for people who are not root."""
    done = subprocess.run([ROOT / "scripts" / script, *arguments], capture_output=True, text=True)
    if done.returncode == 0:
        return
    reason = f"scripts/{script} {' '.join(arguments)} did not work: {done.stderr.strip()}"
    if os.geteuid() == 0 or os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
