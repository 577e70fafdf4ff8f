"""The pages: links lead somewhere, and every command shown is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest

from meshlite.cli.main import root

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "agents/*.md", "bench/*.md")
    for page in ROOT.glob(pattern)
    if ".venv" not in page.parts
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def prose_and_code(page: Path) -> Iterator[tuple[bool, str]]:
    """(in a block of code, line) for each line."""
    code = False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            code = not code
        else:
            yield code, line


def anchors(page: Path) -> set[str]:
    heads = (
        line.lstrip("#").strip().lower()
        for code, line in prose_and_code(page)
        if not code and line[:1] == "#"
    )
    return {re.sub(r"[^\w -]", "", head).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = [
        link
        for code, line in prose_and_code(page)
        if not code
        for link in re.findall(r"\]\(([^)\s]+)\)", line)
        if not link.startswith(("http://", "https://"))
    ]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name}: {link}"
        assert not anchor or anchor in anchors(target), f"{name}: {link}"


def commands(page: Path) -> Iterator[list[str]]:
    for code, line in prose_and_code(page):
        found = re.match(r"(?:sudo )?(?:\.venv/bin/)?meshlite +([a-z].*)", line) if code else None
        if found and "PROJECT" not in line:
            yield shlex.split(found.group(1).partition("#")[0])


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("docs/cli.md")])
def test_commands_shown_exist_with_their_options(name: str) -> None:
    for words in commands(ROOT / name):
        context = click.Context(root, info_name="meshlite")
        command = root.get_command(context, words[0])
        assert command is not None, f"{name}: meshlite {' '.join(words)}"
        with suppress(click.BadParameter):  # a file of the reader's that is not here
            command.make_context(words[0], words[1:], parent=context)


def test_pages_name_no_private_places() -> None:
    for page in PAGES:
        for word in ("/work/", "/opt/venv", "shared/design", "design.md"):
            assert word not in page.read_text(), f"{page}: {word}"


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    assert all(f"({page.name})" in index for page in folder.glob("0*.md"))
