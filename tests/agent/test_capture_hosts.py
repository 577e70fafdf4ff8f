"""Names in a hosts file: others' lines are never touched, ours leave no trace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlite.agent.capture import hosts

DOCKER = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n172.18.0.2\t0123456789ab\n"
ENTRIES = {"240.240.0.7": ["reviews", "reviews.shop"], "240.240.0.3": ["details"]}

texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=300
)
names = st.lists(st.from_regex(r"[a-z][a-z0-9.-]{0,60}", fullmatch=True), max_size=12)
entries = st.dictionaries(st.ip_addresses(v=4).map(str), names, max_size=6)


def test_lines_are_added_at_the_end_one_for_each_address() -> None:
    text = hosts.render(DOCKER, ENTRIES)
    assert text == DOCKER + "240.240.0.3 details # meshlite\n240.240.0.7 reviews reviews.shop # meshlite\n"
    assert hosts.marked(text)
    assert not hosts.marked(DOCKER)


def test_rendering_again_replaces_our_lines_and_keeps_what_the_engine_added_since() -> None:
    text = hosts.render(DOCKER, ENTRIES) + "172.19.0.4\t0123456789ab\n"
    assert hosts.render(text, {"240.240.0.9": ["ratings"]}) == (
        DOCKER + "172.19.0.4\t0123456789ab\n240.240.0.9 ratings # meshlite\n"
    )


def test_a_file_whose_last_line_has_no_end_gets_it_back_without() -> None:
    open_ended = DOCKER.rstrip("\n")
    assert hosts.render(hosts.render(open_ended, ENTRIES), {}) == open_ended
    appended = hosts.render(open_ended, ENTRIES) + "10.0.0.1 other\n"
    assert hosts.render(appended, {}) == DOCKER + "10.0.0.1 other\n"


def test_long_lines_are_split_for_resolvers_with_small_buffers() -> None:
    many = [f"service-{number}.some-namespace.svc.cluster.local" for number in range(60)]
    lines = hosts.render("", {"240.240.0.1": many}).splitlines()
    assert len(lines) > 1
    assert all(len(line) < 512 and line.startswith("240.240.0.1 ") for line in lines)
    assert [name for line in lines for name in line.removesuffix(hosts.MARK).split()[1:]] == many


@given(texts, entries)
def test_leaving_gives_back_every_byte(existing: str, wanted: dict[str, list[str]]) -> None:
    joined = hosts.render(existing, wanted)
    assert hosts.render(joined, wanted) == joined
    assert hosts.render(joined, {}) == existing


@given(texts, entries, entries)
def test_the_past_does_not_matter(
    existing: str, first: dict[str, list[str]], second: dict[str, list[str]]
) -> None:
    assert hosts.render(hosts.render(existing, first), second) == hosts.render(existing, second)


def test_the_file_keeps_its_inode_and_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    original = DOCKER.encode() + b"10.0.0.1 caf\xe9\n"
    file.write_bytes(original)
    inode = file.stat().st_ino
    assert hosts.write(str(file), ENTRIES)
    assert not hosts.write(str(file), ENTRIES)
    assert hosts.write(str(file), {"240.240.0.7": ["reviews"]})
    assert hosts.write(str(file), {})
    assert (file.read_bytes(), file.stat().st_ino) == (original, inode)


@pytest.mark.parametrize("path", ["", "/nonexistent/hosts"])
def test_a_file_that_is_gone_is_nobodys_loss(path: str) -> None:
    assert not hosts.write(path, ENTRIES)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], check=True)
    try:
        file = tmp_path / "hosts"
        file.write_text(DOCKER)
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "fill").write_bytes(bytes(1024 * 1024))
        long = {f"240.240.0.{number}": [f"a-long-name-number-{number}"] for number in range(250)}
        with pytest.raises(OSError, match="No space"):
            hosts.write(str(file), long)
        assert file.read_text() == DOCKER
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
