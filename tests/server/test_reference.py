"""The reference page says what the routes say."""

from __future__ import annotations

from pathlib import Path

from meshlite.server.reference import page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "refresh it: python -m meshlite.server.reference docs/reference/api.md"
