"""Hosts files that somebody writes anew are told of, and our own looking at them is no news."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshlite.agent.capture import hosts
from meshlite.agent.capture.rewrites import Rewrites

ENGINE = "127.0.0.1\tlocalhost\n"
ENTRIES = {"240.240.0.7": ["reviews"]}


class Told:
    """What was told of watched files, in order."""

    def __init__(self) -> None:
        self.paths: asyncio.Queue[str] = asyncio.Queue()
        self.rewrites = Rewrites(self.paths.put_nowait)

    async def next(self) -> str:
        async with asyncio.timeout(60):
            return await self.paths.get()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "hosts"
    path.write_text(ENGINE)
    return str(path)


@pytest.fixture
async def told(file: str) -> AsyncIterator[Told]:
    told = Told()
    told.rewrites.watch(file)
    yield told
    told.rewrites.end(file)


def write_anew(file: str) -> None:
    Path(file).write_text(ENGINE)


async def test_a_file_that_is_written_anew_is_told_of(told: Told, file: str) -> None:
    write_anew(file)
    assert await told.next() == file


async def test_looking_at_a_file_that_is_up_to_date_is_no_news(told: Told, file: str, tmp_path: Path) -> None:
    """Else each answer to news would be the next news, for ever."""
    assert hosts.write(file, ENTRIES)
    assert await told.next() == file
    assert not hosts.write(file, ENTRIES)
    # The kernel tells in the order of what happened: what was told of before would come first.
    marker = str(tmp_path / "marker")
    write_anew(marker)
    told.rewrites.watch(marker)
    write_anew(marker)
    assert await told.next() == marker
    told.rewrites.end(marker)
