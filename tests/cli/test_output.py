"""Tables: whole lines in a pipe, colours on a terminal, folded where they do not fit."""

from __future__ import annotations

import sys

import pytest

from meshlite.cli.output import GOOD, columns, paint, plain

ROWS = [
    ("shop", paint("3/3", GOOD), plain("[red]a[/red]")),
    ("x", "", "日本"),
    ("long-name", "1/2", plain("b\nc")),
]
HEAD = ("NAMESPACE", "READY", "ABOUT")


def test_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    columns(HEAD, ROWS[:2])
    assert capsys.readouterr().out == (
        "NAMESPACE   READY   ABOUT\nshop        3/3     [red]a[/red]\nx                   日本\n"
    )


def test_long_lines_stay_whole_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    columns(("A", "B"), [("x" * 600, plain("y\nz"))])
    assert capsys.readouterr().out.splitlines()[1] == "x" * 600 + "   y z"


@pytest.mark.parametrize("width", ["100", "20"])
def test_on_a_terminal(
    width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    columns(HEAD, ROWS)
    out = capsys.readouterr().out
    assert "\x1b[32m3/3" in out, "the colour"
    assert (len(out.splitlines()) == 4) == (width == "100")
