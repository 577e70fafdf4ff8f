"""Which projects are in the mesh, also where the server was dead when they left."""

from __future__ import annotations

from pathlib import Path

from meshlite.cli.projects import join, leave_all, record
from meshlite.config import from_process
from tests.cli.conftest import Mesh


def test_projects_that_left_while_the_server_was_dead_do_not_come_back(mesh: Mesh, tmp_path: Path) -> None:
    settings = from_process(mesh.config)
    settings.paths.state.mkdir(parents=True, exist_ok=True)
    mesh.projects("shop", "bank")
    assert join(settings, ["post"], everything=False) == "bank, post, shop"
    nowhere = settings.paths.model_copy(update={"run": tmp_path / "nobody"})
    leave_all(settings.model_copy(update={"paths": nowhere}))
    assert record(settings)["projects"] == ["bank", "post", "shop"], "the server was not told"
    assert join(settings, ["post"], everything=False) == "post"
    assert record(settings)["projects"] == ["post"]
    assert join(settings, ["bank"], everything=False) == "bank, post"


def test_a_server_that_lives_is_told(mesh: Mesh) -> None:
    settings = from_process(mesh.config)
    mesh.projects("shop", "bank")
    leave_all(settings)
    assert record(settings)["projects"] == []
    assert join(settings, ["post"], everything=False) == "post"
