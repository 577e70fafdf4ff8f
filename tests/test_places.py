"""Verbs that only ask find the sockets where the processes, which check all settings, have put them."""

from __future__ import annotations

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
