"""For each case: exactly the expected resources, and Envoy itself takes them.

A case is `<name>.in.yaml`, whose `show` says what of the result is looked at; that is in `<name>.envoy.yaml`.
Refresh: pytest tests/translate --update-golden
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlite.translate.translate import translate
from tests.translate import cases, envoy

FOLDER = Path(__file__).parent / "testdata"
CASES = sorted(path.name.removesuffix(".in.yaml") for path in FOLDER.glob("*.in.yaml"))


def read(case: str) -> dict[str, Any]:
    return cases.load(FOLDER / f"{case}.in.yaml")


def translated(case: str) -> dict[str, Any]:
    return cases.shown(translate(*cases.mesh(read(case))))


def shown(result: dict[str, Any], part: str) -> tuple[str, Any]:
    """`listeners` shows all of them, `listeners:outbound/4000` that one."""
    kind, _, name = part.partition(":")
    return part, result[kind][name] if name else result[kind]


def text(shown: dict[str, Any]) -> str:
    return yaml.safe_dump(shown, sort_keys=True, width=150, default_flow_style=None)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, request: pytest.FixtureRequest) -> None:
    expected = FOLDER / f"{case}.envoy.yaml"
    result = translated(case)
    found = text(dict(shown(result, part) for part in ("problems", *read(case)["show"])))
    if request.config.getoption("--update-golden"):
        expected.write_text(found)
    assert expected.read_text() == found, f"if this is right: pytest {__file__} --update-golden"


def test_no_expected_file_is_left_over(request: pytest.FixtureRequest) -> None:
    stale = [
        path for path in FOLDER.glob("*.envoy.yaml") if path.name.removesuffix(".envoy.yaml") not in CASES
    ]
    if request.config.getoption("--update-golden"):
        for path in stale:
            path.unlink()
        stale = []
    assert stale == []


@pytest.mark.parametrize("case", CASES)
def test_envoy_takes_it(case: str, tmp_path: Path) -> None:
    assert envoy.validate(envoy.bootstrap(translated(case)), tmp_path) == ""
