"""Commands shown to be typed next are ones that the person's shell finds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from meshlite.cli.invocation import command
from meshlite.cli.verbs.up import next_steps

OWN = Path(sys.executable).parent


def test_by_its_name_where_the_shell_finds_it_else_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(environ={"PATH": str(OWN)}).split()[-1] == "meshlite"
    monkeypatch.chdir("/")
    assert command(environ={"PATH": "/nowhere"}).split()[-1] == str(OWN.relative_to("/") / "meshlite")
    monkeypatch.chdir(OWN.parent)
    assert command(environ={"PATH": "/nowhere"}).split()[-1] == f"{OWN.name}/meshlite"


def test_another_program_of_that_name_is_not_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "meshlite"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert command(environ={"PATH": str(tmp_path)}).split()[-1] == str(OWN / "meshlite")


def test_with_sudo_for_who_came_by_sudo() -> None:
    assert command(root=True, environ={"PATH": str(OWN), "SUDO_USER": "nobody"}) == "sudo meshlite"
    assert command(environ={"PATH": str(OWN), "SUDO_USER": "nobody"}) == "sudo meshlite"
    if os.geteuid() == 0:
        assert command(root=True, environ={"PATH": str(OWN)}) == "meshlite"


def test_up_does_not_claim_projects_of_which_nothing_runs() -> None:
    assert next_steps(("shop",), False).startswith("shop is in the mesh. Next:")
    said = next_steps(("shop", "typo"), False, idle=("typo",))
    assert said.startswith("shop is in the mesh. No container of typo runs; it joins when it is started.")
    assert next_steps(("typo",), False, idle=("typo",)).startswith("No container of typo runs")
    assert next_steps(("a", "b"), False).startswith("a, b are in the mesh.")
