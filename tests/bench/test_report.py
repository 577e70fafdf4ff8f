"""Tables on the page and the place where they stand, and the machine, which is described but not named."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from bench import report
from bench.figures import Figure, Part, Table
from bench.machine import facts

PART = Part(
    "hop",
    "One hop",
    (Figure("rate", 2.3456, "×", "at least", 1.6), Figure("memory", 123.4, "MiB", "at most", 100)),
    (Table(("path", "requests/s"), (("meshlite", "22,900"), ("two sidecars", "10,900"))),),
    ("wrk, one thread.",),
)


def test_a_table_in_markdown() -> None:
    assert report.markdown_table(PART.tables[0]).splitlines() == [
        "| path | requests/s |",
        "| --- | --: |",
        "| meshlite | 22,900 |",
        "| two sidecars | 10,900 |",
    ]


def test_the_page_says_what_was_met_and_what_was_not() -> None:
    page = report.markdown([PART, Part("up", "Start", error="no engine answers")], {"Envoy": "1.40.0"})
    assert "| rate | 2.35 × | at least 1.6 | met |" in page
    assert "| memory | 123 MiB | at most 100 | not met |" in page
    assert "Envoy 1.40.0" in page
    assert "### Start\n\nNot measured in this run." in page
    assert "- wrk, one thread." in page


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    page = f"# Benchmarks\n\n{report.BEGIN}\nold\n{report.END}\n\nHow to read it.\n"
    once = report.put_between(page, "new")
    assert once == f"# Benchmarks\n\n{report.BEGIN}\n\nnew\n\n{report.END}\n\nHow to read it.\n"
    assert report.put_between(once, "new") == once


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="results: begin"):
        report.put_between("# Benchmarks\n", "new")


def test_our_own_page_has_the_marks() -> None:
    page = (Path(report.__file__).parent / "README.md").read_text()
    assert "fresh" in report.put_between(page, "fresh")


def test_the_machine_is_described_and_not_named() -> None:
    described = " ".join(facts().values())
    assert platform.node() not in described.split()
    assert "/" not in described.replace(" / ", "")
    assert facts()["Envoy"].count(".") == 2
