"""Shell scripts beside the package, where a defect would bite others."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def function(script: str, name: str) -> str:
    found = re.search(rf"^{name}\(\) {{\n.*?^}}\n", (ROOT / script).read_text(), re.MULTILINE | re.DOTALL)
    assert found, name
    return found.group()


def test_an_engine_started_by_the_script_keeps_no_descriptor_of_its_starter(tmp_path: Path) -> None:
    """It would hold the starter's locks and pipes for as long as it runs."""
    engine = tmp_path / "dockerd"
    engine.write_text(
        f"#!/bin/sh\nls -l /proc/$$/fd > {tmp_path}/seen.new\nmv {tmp_path}/seen.new {tmp_path}/seen\n"
    )
    engine.chmod(0o755)
    stubs = f"find_dockerd() {{ echo {engine}; }}; prepare_cgroups() {{ :; }}; say() {{ :; }}\n"
    body = function("scripts/engine", "start_detached") + function("scripts/engine", "close_inherited")
    wait = f"for _ in $(seq 1200); do [ ! -e {tmp_path}/seen ] || exit 0; sleep 0.05; done; exit 1"
    environ = {**os.environ, "LOG": f"{tmp_path}/log"}
    held = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    done = subprocess.run(
        ["bash", "-euc", f"{stubs}{body}start_detached; {wait}"], pass_fds=[held], timeout=90, env=environ
    )
    os.close(held)
    assert done.returncode == 0
    assert "/dev/null" in (seen := (tmp_path / "seen").read_text())
    assert str(tmp_path / "lock") not in seen
    assert "pipe:" not in seen


@pytest.mark.parametrize(
    ("containers", "mesh", "stops"), [("", "", True), ("3f2a", "", False), ("", "agent.pid", False)]
)
def test_an_engine_that_is_in_use_is_not_stopped(
    tmp_path: Path, containers: str, mesh: str, stops: bool
) -> None:
    """By containers, or by a mesh whose project has none just now."""
    (tmp_path / "started").mkdir()
    if mesh:
        (tmp_path / mesh).touch()
    engine = f"docker() {{ {f'echo {containers}' if containers else ':'}; }}"
    stubs = f'{engine}; say() {{ echo "$1"; }}; stop() {{ echo stopped; }}\n'
    environ = {**os.environ, "STARTED": str(tmp_path / "started"), "MESH": str(tmp_path / "agent.pid")}
    script = stubs + function("scripts/engine", "release") + "release"
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, env=environ, check=True)
    assert ("stopped" in done.stdout) is stops
    assert ("leaving the Docker engine running" in done.stdout) is not stops
