"""The project that the current folder belongs to: the same answer as Compose itself gives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from meshlite.cli.compose import find

SERVICE = "services: {a: {image: none}}\n"

CASES: dict[str, tuple[Mapping[str, str], str, Mapping[str, str], str]] = {
    # name: (files, current folder, environment, project)
    "folder": ({"My.App_1/compose.yaml": SERVICE}, "My.App_1", {}, "myapp_1"),
    "folder starting with a dash": ({"-_x/compose.yaml": SERVICE}, "-_x", {}, "x"),
    "old file name": ({"shop/docker-compose.yml": SERVICE}, "shop", {}, "shop"),
    "new file name before old": (
        {"a/compose.yml": "name: new\n" + SERVICE, "a/docker-compose.yaml": "name: old\n" + SERVICE},
        "a",
        {},
        "new",
    ),
    "name in the file": ({"a/compose.yaml": "name: shop\n" + SERVICE}, "a", {}, "shop"),
    "name in the override": (
        {"a/compose.yaml": "name: shop\n" + SERVICE, "a/compose.override.yaml": "name: other\n" + SERVICE},
        "a",
        {},
        "other",
    ),
    "override without a name": (
        {"a/compose.yaml": "name: shop\n" + SERVICE, "a/compose.override.yml": SERVICE},
        "a",
        {},
        "shop",
    ),
    "parent folder": ({"shop/compose.yaml": SERVICE, "shop/src/deep/x": ""}, "shop/src/deep", {}, "shop"),
    "environment": (
        {"a/compose.yaml": "name: shop\n" + SERVICE},
        "a",
        {"COMPOSE_PROJECT_NAME": "env"},
        "env",
    ),
    "environment file": (
        {"a/compose.yaml": SERVICE, "a/.env": "# a comment\nexport COMPOSE_PROJECT_NAME='dot' # really\n"},
        "a",
        {},
        "dot",
    ),
    "environment beats environment file": (
        {"a/compose.yaml": SERVICE, "a/.env": "COMPOSE_PROJECT_NAME=dot\n"},
        "a",
        {"COMPOSE_PROJECT_NAME": "env"},
        "env",
    ),
    "listed files": (
        {"a/x.yml": "name: x\n" + SERVICE, "a/sub/y.yml": "name: y\n" + SERVICE},
        "a",
        {"COMPOSE_FILE": "x.yml:sub/y.yml"},
        "y",
    ),
    "listed file in another folder": (
        {"a/none": "", "b/x.yml": SERVICE},
        "a",
        {"COMPOSE_FILE": "../b/x.yml"},
        "b",
    ),
    "listed with own separator": (
        {"a/x.yml": SERVICE, "a/y.yml": "name: y\n" + SERVICE},
        "a",
        {"COMPOSE_FILE": "x.yml,y.yml", "COMPOSE_PATH_SEPARATOR": ","},
        "y",
    ),
    "variable": ({"a/compose.yaml": "name: ${STAGE}-shop\n" + SERVICE}, "a", {"STAGE": "dev"}, "dev-shop"),
    "variable with default": (
        {"a/compose.yaml": "name: ${STAGE:-dev}-shop\n" + SERVICE},
        "a",
        {},
        "dev-shop",
    ),
    "empty variable with default": (
        {"a/compose.yaml": "name: ${STAGE:-dev}-shop\n" + SERVICE},
        "a",
        {"STAGE": ""},
        "dev-shop",
    ),
    "variable of the environment file": (
        {"a/compose.yaml": "name: shop-$STAGE\n" + SERVICE, "a/.env": 'STAGE="qa"\n'},
        "a",
        {},
        "shop-qa",
    ),
    "environment file beside the file, current folder below": (
        {"a/compose.yaml": "name: shop-$STAGE\n" + SERVICE, "a/.env": "STAGE=qa\n", "a/b/x": ""},
        "a/b",
        {},
        "shop-qa",
    ),
    "compose's own tags": (
        {"a/compose.yaml": "services: {a: {image: none, ports: !reset []}}\nname: tagged\n"},
        "a",
        {},
        "tagged",
    ),
}


def lay_out(root: Path, files: Mapping[str, str], folder: str) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / folder


@pytest.mark.parametrize("case", CASES)
def test_project_of_a_folder(case: str, tmp_path: Path) -> None:
    files, folder, environ, expected = CASES[case]
    project = find(lay_out(tmp_path, files, folder), environ)
    assert project is not None
    assert project.name == expected


def has_compose() -> bool:
    docker = shutil.which("docker")
    return bool(docker) and not subprocess.run([docker, "compose", "version"], capture_output=True).returncode


@pytest.mark.skipif(not has_compose(), reason="docker compose is not installed")
@pytest.mark.parametrize("case", CASES)
def test_compose_agrees(case: str, tmp_path: Path) -> None:
    files, folder, environ, expected = CASES[case]
    place = lay_out(tmp_path, files, folder)
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PWD": str(place)}
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=place,
        env={**bare, **environ},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == expected


def test_no_compose_file_no_project(tmp_path: Path) -> None:
    assert find(tmp_path, {}) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: Shop\n", "not a project name"),
        ("name: [\n", "is not YAML"),
        ("name: ${STAGE:?set it}\n", "set it"),
    ],
)
def test_refused_names_say_which_file(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    with pytest.raises(ValueError, match=reason) as raised:
        find(tmp_path, {})
    assert "compose.yaml" in str(raised.value)
