"""Shell scripts beside the package, where a defect would bite others."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

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
