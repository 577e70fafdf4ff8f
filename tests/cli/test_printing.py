"""What others named does nothing to a terminal, and does not fill it; files that cannot be read are named."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner

from meshlite.cli.failure import Failure
from meshlite.cli.main import root
from meshlite.cli.output import emit, note, paint, plain, printable, say
from meshlite.cli.verbs.status import _show
from meshlite.log import Formatter
from tests.cli.conftest import Mesh

HOSTILE = "a\x07b\x1b[31mc\x1b[2Jd\x9be\x7f\u202ef"
RAW = "\x07\x1b\x9b\x7f\u202e"
LONG = "n" * 100_000


def is_clean(text: str) -> bool:
    return not any(character in text for character in RAW)


def test_a_hostile_name_is_escaped_and_an_endless_one_shortened_in_every_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for shown in (printable(HOSTILE), plain(HOSTILE), paint(HOSTILE, "red")):
        assert is_clean(shown)
        assert "x07" in shown
        assert "x1b" in shown
    say(HOSTILE)
    note(HOSTILE)
    Failure(HOSTILE, where=HOSTILE, why=HOSTILE, next_step=HOSTILE).show()
    out, err = capsys.readouterr()
    assert is_clean(out.replace("\x1b[31m", ""))
    assert is_clean(err.replace("\x1b[31m", ""))
    say(f"problem: {LONG} x")
    Failure(LONG, why=LONG).show()
    out, err = capsys.readouterr()
    assert max(map(len, (out, err))) < 500
    assert "(100000 characters)" in out


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_programs_get_the_whole_name_and_no_raw_one(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    emit({"name": HOSTILE + LONG}, form, lambda: None)  # type: ignore[arg-type]
    out = capsys.readouterr().out
    assert is_clean(out)
    if form == "json":
        assert json.loads(out) == {"name": HOSTILE + LONG}


def test_a_status_with_hostile_words_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    part = {"name": "proxy", "state": HOSTILE, "healthy": True, "version": HOSTILE, "detail": HOSTILE}
    service = {"namespace": HOSTILE, "name": HOSTILE, "address": HOSTILE, "mode": "STRICT", "ports": [1]}
    service |= {"declared_by": [], "resolution": "", "ready": 1, "total": 1}
    odd = {"namespace": HOSTILE, "name": HOSTILE, "node": HOSTILE, "reason": HOSTILE}
    value = {"parts": [part], "services": [service], "uncaptured": [odd], "projects": [HOSTILE], "node": "n"}
    value |= {"everything": False, "projects_known": True}
    _show(value | {"problems": [{"resource": HOSTILE, "reason": HOSTILE}]})
    assert is_clean(capsys.readouterr().out.replace("\x1b[31m", ""))


@pytest.mark.parametrize("verb", ["apply", "validate"])
def test_files_with_hostile_names_are_refused_in_plain_words(verb: str, mesh: Mesh, tmp_path: Path) -> None:
    kind, name, key = (json.dumps(f"{HOSTILE}{end}") for end in ("kind", "name", "key"))
    head = "apiVersion: networking.istio.io/v1"
    documents = (
        f"{head}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n",
        f"{head}\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec: {{hosts: [x], {key}: 1}}\n",
        f"{head}\nkind: VirtualService\nmetadata: {{name: {LONG}}}\nspec: {{hosts: [x]}}\n",
        f"{head}\nkind: {LONG}\nmetadata: {{name: x}}\nspec: {{}}\n",
    )
    file = tmp_path / "hostile.yaml"
    file.write_text("---\n".join(documents))
    done = mesh.cli(verb, "-n", "shop", "-f", str(file))
    assert done.exit_code == 1
    assert is_clean(done.output.replace("\x1b[31m", ""))
    assert len(done.output) < 10_000
    assert "hostile.yaml:2" in done.stderr


@pytest.mark.parametrize("verb", ["apply", "validate"])
def test_a_link_to_nowhere_in_a_folder_is_named_and_nothing_is_taken(verb: str, tmp_path: Path) -> None:
    good = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: a}\nspec: {}\n"
    (tmp_path / "a.yaml").write_text(good)
    (tmp_path / "b.yaml").symlink_to("nowhere.yaml")
    done = CliRunner().invoke(root, [verb, "-n", "shop", "-f", str(tmp_path)])
    assert done.exit_code == 1
    assert f"{tmp_path / 'b.yaml'} cannot be read; nothing of {tmp_path} is taken" in done.stderr
    assert "a link to nowhere.yaml, which does not exist" in done.stderr
    assert done.stdout == ""


def test_a_hostile_name_begins_no_line_in_a_log() -> None:
    record = logging.LogRecord("meshlite.x", logging.INFO, "f", 1, "seen %s", (f"a\nINFO b{HOSTILE}",), None)
    record.fields = {"name": HOSTILE}
    line = Formatter().format(record)
    assert is_clean(line)
    assert "\n" not in line
