"""Istio's own YAML, where it is at hand: beside the checkout, or where MESHLITE_CORPUS says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlite.model.located import Located, load

ROOT = Path(os.environ.get("MESHLITE_CORPUS") or Path(__file__).parents[3] / "shared/corpus")

needed = pytest.mark.skipif(not ROOT.is_dir(), reason=f"Istio's YAML is not at {ROOT}; set MESHLITE_CORPUS")


@dataclass(frozen=True)
class Case:
    """One document of a file: as it is to be applied, and Istio's complaint where it must be refused."""

    file: str
    line: int
    data: dict[str, Any]
    complaint: str = ""

    @property
    def text(self) -> str:
        return yaml.safe_dump(self.data)

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", ""))

    def __str__(self) -> str:
        return f"{self.file.rpartition('/')[2]}:{self.line}"


def cases(group: str) -> Iterator[Case]:
    """Every document of a group of the corpus. `_err` beside `apiVersion` is Istio's complaint."""
    for path in sorted((ROOT / group).rglob("*.yaml")):
        file = str(path.relative_to(ROOT))
        for item in load(path.read_text()):
            assert isinstance(item, Located), f"{file}: {item}"
            if isinstance(item.value, dict):
                data = dict(item.value)
                yield Case(file, item.line, data, str(data.pop("_err", "")))
