"""The front door: help at once, usage errors, failures said in sentences, completion, versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from meshlite import __version__
from meshlite.cli.failure import Failure
from meshlite.cli.main import VERBS, root
from tests.cli.conftest import Mesh

RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews}
"""


def meshlite(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "meshlite", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environ,
    )


def test_help_lists_every_verb_and_imports_none() -> None:
    """So it is quick: nothing but click is read."""
    code = "import sys; from meshlite.cli.main import root; root(['--help'], standalone_mode=False); "
    heavy = ("meshlite.", "rich", "pydantic", "yaml", "asyncio", "aiohttp")
    code += f"print(sorted(m for m in sys.modules if m.startswith({heavy})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    *text, modules = done.stdout.splitlines()
    assert all(any(line.split()[:1] == [verb] for line in text) for verb in VERBS)
    assert modules == "['meshlite.cli', 'meshlite.cli.failure', 'meshlite.cli.front', 'meshlite.cli.main']"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_help_the_list_shows(verb: str) -> None:
    module, text = VERBS[verb]
    command = getattr(import_module(f"meshlite.cli.verbs.{module}"), verb.replace("-", "_"))
    assert isinstance(command, click.Command)
    assert command.name == verb
    assert command.short_help == text
    done = CliRunner().invoke(root, [verb, "--help"])
    assert done.exit_code == 0
    assert command.help
    assert done.output.count("\n") > 6


@pytest.mark.parametrize(
    "arguments",
    [["nosuch"], ["get"], ["get", "vs", "-n", "a", "-A"], ["up", "--nosuch"], ["status", "-o", "xml"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(root, arguments)
    assert done.exit_code == 2
    assert "Usage:" in done.stderr
    assert done.stdout == ""


def test_a_verb_without_a_mesh_says_what_where_why_and_next(tmp_path: Path) -> None:
    done = meshlite("get", "services", MESHLITE_RUN_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    what, *rest = done.stderr.splitlines()
    assert what == "error: the server is not running"
    assert [line.split()[0] for line in rest] == ["where:", "why:", "next:"]
    assert str(tmp_path / "admin.sock") in rest[0]
    assert "meshlite up" in rest[2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("ports: {servr: 1}\n", "ports.servr"), ("- a\n", "expected keys"), ("a: [\n", "cannot be read")],
)
def test_wrong_settings_name_file_and_key(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "meshlite.yaml"
    file.write_text(text)
    done = meshlite("--config", str(file), "get", "services")
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_the_unexpected_is_a_sentence_and_a_traceback_only_on_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @click.command("version")
    def broken() -> None:
        raise KeyError("x")

    monkeypatch.setattr("meshlite.cli.verbs.about.version", broken)
    done = CliRunner().invoke(root, ["version"])
    assert done.exit_code == 1
    assert "KeyError: 'x'" in done.stderr
    assert "MESHLITE_DEBUG=1" in done.stderr
    assert "Traceback" not in done.stderr
    asked = CliRunner(env={"MESHLITE_DEBUG": "1"}).invoke(root, ["version"])
    assert isinstance(asked.exception, KeyError)


def test_failures_have_no_colour_in_a_pipe_and_indent_long_reasons(tmp_path: Path) -> None:
    file = tmp_path / "out"
    with file.open("w") as out:
        Failure("x fails", where="here", why="one\ntwo").show(out)
    assert file.read_text() == "error: x fails\n  where: here\n  why:   one\n         two\n"


def test_version_without_a_mesh(tmp_path: Path) -> None:
    done = meshlite("version", "-o", "json", MESHLITE_RUN_DIR=str(tmp_path))
    value = json.loads(done.stdout)
    assert list(value) == ["cli", "server", "agent", "envoy", "python"]
    assert (value["cli"], value["server"], value["agent"]) == (__version__, "", "")
    assert value["envoy"].count(".") == 2
    assert meshlite("--version").stdout == f"meshlite {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    script = CliRunner().invoke(root, ["completion", shell])
    assert script.exit_code == 0
    assert "_MESHLITE_COMPLETE" in script.output


def test_completion_of_an_unknown_shell() -> None:
    done = CliRunner(env={"SHELL": "/bin/csh"}).invoke(root, ["completion"])
    assert done.exit_code == 1
    assert "bash, zsh, fish" in done.stderr


@pytest.mark.parametrize(
    ("words", "index", "expected"),
    [
        ("meshlite ", 1, set(VERBS)),
        ("meshlite proxy-", 1, {"proxy-status", "proxy-config"}),
        ("meshlite proxy-config ", 2, {"listeners", "clusters", "routes", "endpoints", "secrets", "all"}),
        ("meshlite get virt", 2, {"virtualservices"}),
        ("meshlite status -o ", 3, {"table", "json", "yaml"}),
    ],
)
def test_completion_of_words(words: str, index: int, expected: set[str]) -> None:
    done = meshlite(_MESHLITE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(index))
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == expected


@pytest.mark.parametrize("verb", ["doctor", "up", "server", "agent", "status"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("paths: [1, 2]\n", "paths: Input should be a valid dictionary"),
        ("extension_providers: [{name: x}]\n", "extension_providers[0]: needs"),
    ],
)
def test_every_verb_judges_the_settings_alike(verb: str, text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "meshlite.yaml"
    file.write_text(text)
    done = CliRunner().invoke(root, ["--config", str(file), verb])
    assert done.exit_code == 1
    assert reason in done.stderr
    assert "the settings cannot be used" in done.stderr


HEAVY = ("aiohttp", "cryptography", "docker", "envoy", "google", "grpc", "pydantic", "rich", "yaml")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("apply -f FILE", 0),
        ("delete -f FILE", 1),
        ("delete dr reviews --ignore-missing", 0),
        ("get dr", 0),
        ("get services", 0),
        ("get all -o json", 0),
    ],
)
def test_verbs_that_ask_import_nothing_that_takes_longer_than_the_question(
    line: str, expected: int, mesh: Mesh, tmp_path: Path
) -> None:
    """Nothing is there to delete."""
    file = tmp_path / "rule.yaml"
    file.write_text(RULE)
    words = [str(file) if word == "FILE" else word for word in line.split()]
    code = (
        "import atexit, sys; from meshlite.cli.main import main; sys.argv = ['meshlite', *sys.argv[1:]]\n"
        "roots = lambda: sorted({name.partition('.')[0] for name in sys.modules})\n"
        "atexit.register(lambda: print('IMPORTED', *roots(), file=sys.stderr))\n"
        "main()\n"
    )
    environ = os.environ | {"MESHLITE_RUN_DIR": str(mesh.run_dir), "MESHLITE_CONFIG": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environ, timeout=60
    )
    *said, imported = done.stderr.splitlines()
    assert done.returncode == expected, said
    assert imported.startswith("IMPORTED ")
    assert set(HEAVY) & set(imported.split()) == set()
