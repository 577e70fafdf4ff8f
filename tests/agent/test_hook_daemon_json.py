"""The engine's configuration file: entered without loss, left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlite.agent.hook import daemon_json, files
from meshlite.config import Paths, Settings

OURS = {"path": "/w"}
OPERATORS = b'{\n  "log-driver": "local",\n  "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}\n}'

configs = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=5), max_size=4).flatmap(
    lambda base: st.sampled_from(
        [base, {**base, "runtimes": {}}, {**base, "runtimes": {"x": {"path": "x"}}, "default-runtime": "x"}]
    )
)


def test_the_operators_keys_stay_when_entering() -> None:
    assert json.loads(daemon_json.entered(OPERATORS, "/w")) == {
        "log-driver": "local",
        "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}, daemon_json.RUNTIME: OURS},
        "default-runtime": daemon_json.RUNTIME,
    }


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"{}"])
def test_no_file_and_an_empty_one_are_entered(content: bytes | None) -> None:
    assert not daemon_json.names_us(content)
    assert daemon_json.names_us(daemon_json.entered(content, "/w"))


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"runtimes": []}', b"\xff"])
def test_what_is_no_configuration_is_said_and_not_touched(content: bytes) -> None:
    with pytest.raises(ValueError, match="it is not"):
        daemon_json.entered(content, "/w")


def test_parting_says_aloud_what_a_reload_would_not_unset() -> None:
    assert json.loads(daemon_json.parting(None, "runc")) == {"default-runtime": "runc", "runtimes": {}}
    spoken = json.loads(daemon_json.parting(OPERATORS, "runc"))
    assert (spoken["default-runtime"], list(spoken["runtimes"])) == ("runc", ["nvidia"])


def test_an_untouched_file_goes_back_byte_for_byte() -> None:
    written = daemon_json.entered(OPERATORS, "/w")
    assert files.target(written, OPERATORS, files.digest(written)) == OPERATORS
    assert files.target(written, None, files.digest(written)) is None


def test_a_file_edited_meanwhile_keeps_the_edit_and_loses_only_what_is_ours() -> None:
    edited = json.loads(daemon_json.entered(OPERATORS, "/w")) | {"debug": True}
    target = files.target(json.dumps(edited).encode(), OPERATORS, "digest of what we wrote")
    assert target is not None
    assert json.loads(target) == json.loads(OPERATORS) | {"debug": True}


def test_a_file_that_was_not_there_goes_again_also_when_our_memory_of_it_is_lost() -> None:
    assert files.target(daemon_json.entered(None, "/w"), None, written="") is None
    edited = json.loads(daemon_json.entered(None, "/w")) | {"debug": True}
    target = files.target(json.dumps(edited).encode(), None, written="")
    assert target is not None
    assert json.loads(target) == {"debug": True}


@given(configs)
def test_leaving_an_edited_file_undoes_exactly_the_entering(config: dict[str, object]) -> None:
    original = json.dumps(config).encode()
    assert json.loads(daemon_json.without_ours(daemon_json.entered(original, "/w"), original)) == config


def test_a_note_that_a_full_disk_cut_off_keeps_nobody_from_leaving(tmp_path: Path) -> None:
    folder = files.Folder(Settings(paths=Paths(state=tmp_path)))
    folder.path.mkdir()
    for content in ('{"file"', "{}", "[]", ""):
        (folder.path / "note.json").write_text(content)
        assert folder.note() is None


@pytest.mark.parametrize("original", [OPERATORS, b'{ "debug":true }', None])
def test_who_is_ended_while_leaving_leaves_the_file_as_it_was(tmp_path: Path, original: bytes | None) -> None:
    """At any moment: before the parting file stands there, and when it does."""
    folder, file = files.Folder(Settings(paths=Paths(state=tmp_path / "state"))), tmp_path / "daemon.json"
    written = daemon_json.entered(original, "/w")
    folder.path.mkdir(parents=True)
    folder.keep(files.Note(str(file), original is not None, False, "runc", files.digest(written)), original)
    note = folder.note()
    assert note is not None
    assert folder.target(note, written) == original
    parting = daemon_json.parting(original, "runc")
    folder.part(note, original, parting)
    again = folder.note()
    assert again is not None
    assert not folder.is_parting(again, written)
    assert folder.target(again, written) == original
    assert folder.is_parting(again, parting)
    assert folder.target(again, parting) == original
    folder.forget()
    assert not [*folder.path.iterdir()]


def test_a_disk_without_room_keeps_nothing_half_written(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.mkdir()  # nothing can take its place
    with pytest.raises(OSError, match=r"daemon\.json"):
        files.replace(file, b"{}")
    assert [*tmp_path.iterdir()] == [file]


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "daemon.json"
    real.write_text("{}")
    link.symlink_to(real)
    files.replace(link, b'{"debug": true}')
    assert link.is_symlink()
    assert real.read_text() == '{"debug": true}'
