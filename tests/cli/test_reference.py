"""The reference page says what the commands say."""

from __future__ import annotations

from pathlib import Path

from meshlite.cli.main import VERBS
from meshlite.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == reference(), "refresh it: python -m meshlite.cli.reference > docs/cli.md"


def test_the_page_has_every_verb() -> None:
    assert [line[13:] for line in reference().splitlines() if line.startswith("### meshlite ")] == list(VERBS)
