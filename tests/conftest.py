"""Options for all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

# No example is too slow: a machine may be. Continuous integration tries the same examples each time.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the expected files of golden tests, and delete those that no case has any more",
    )
