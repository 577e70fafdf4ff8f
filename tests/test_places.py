"""Verbs that only ask find the sockets where the processes, which check all settings, have put them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from meshlite import config, places


@pytest.mark.parametrize(
    "text", ["", "node: here\n", "paths: {run: /a, state: /b}\nnode: 'x'\n", "paths: {run: /a}\n"]
)
@pytest.mark.parametrize(
    "environ", [{}, {"MESHLITE_NODE": "there", "MESHLITE_RUN_DIR": "/c"}, {"MESHLITE_STATE_DIR": "/d"}]
)
def test_both_read_the_same_from_the_same(text: str, environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "meshlite.yaml"
    file.write_text(text)
    settings, found = config.load(file, environ), places.located(file, environ)
    assert found.node == settings.node
    assert (found.paths.run, found.paths.state) == (settings.paths.run, settings.paths.state)
    assert found.paths.admin_socket == settings.paths.admin_socket
    assert found.paths.agent_socket == settings.paths.agent_socket


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "paths: x\n", "paths: {run: 1}\n", "node: 7\n"])
def test_what_is_not_understood_is_left_to_the_settings(text: str, tmp_path: Path) -> None:
    file = tmp_path / "meshlite.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=str(file)):
        places.located(file, {})


def test_a_host_that_is_renamed_keeps_its_name_in_the_mesh(tmp_path: Path) -> None:
    environ = {"MESHLITE_STATE_DIR": str(tmp_path)}
    assert config.load(None, environ).node == places.located(None, environ).node == socket.gethostname()
    places.keep_node(tmp_path, "first")
    assert config.load(None, environ).node == places.located(None, environ).node == "first"
    said = {**environ, "MESHLITE_NODE": "said"}
    assert config.load(None, said).node == places.located(None, said).node == "said"


@pytest.mark.parametrize("content", ["", "first", "first another-machine", "a/b {machine}", b"\xff\xfe a"])
def test_a_copy_of_the_state_or_nonsense_in_it_gives_no_name(content: str | bytes, tmp_path: Path) -> None:
    places.keep_node(tmp_path, "first")
    file = tmp_path / places.NODE_FILE
    machine = file.read_text().split()[1]
    file.write_bytes(content.replace("{machine}", machine).encode() if isinstance(content, str) else content)
    environ = {"MESHLITE_STATE_DIR": str(tmp_path)}
    assert config.load(None, environ).node == places.located(None, environ).node == socket.gethostname()
