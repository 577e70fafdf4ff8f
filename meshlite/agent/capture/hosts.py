"""Names of the mesh in a container's hosts file: marked lines, written in place, removed on leave.

In place, since the file is bind-mounted into the container: another inode would not be seen there. The engine
adds and removes lines of its own meanwhile, so every line of ours carries the mark.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence

MARK = " # meshlite"
MARK_AFTER_OPEN_LINE = " # meshlite."
"""On our first line where the line before it had no end; that end is ours to take away again."""
MAX_LINE = 400
"""Some resolvers (musl) read hosts lines into a buffer of 512 bytes."""


def render(existing: str, entries: Mapping[str, Sequence[str]]) -> str:
    """`existing` with exactly `entries` (address -> names) as ours; without entries as it was before us."""
    others = _without_ours(existing)
    lines = [line for address in sorted(entries) for line in _lines(address, entries[address])]
    if not lines:
        return others
    if others and not others.endswith("\n"):
        return others + "\n" + lines[0] + MARK_AFTER_OPEN_LINE + "\n" + _joined(lines[1:])
    return others + _joined(lines)


def marked(existing: str) -> bool:
    """Whether there are lines of ours in it."""
    return any(line.endswith((MARK, MARK_AFTER_OPEN_LINE)) for line in existing.split("\n"))


def write(path: str, entries: Mapping[str, Sequence[str]]) -> bool:
    """Bring the file up to date; True where it changed. A file that is gone is nobody's loss.

    One that is up to date is only read: opened for writing, it would be news to all who watch it, us too.
    Raises OSError where there is no room; the file is then as it was.
    """
    try:
        with open(path, "rb") as file:
            if _wanted(file.read(), entries) is None:
                return False
        with open(path, "r+b") as file:
            before = file.read()
            if (body := _wanted(before, entries)) is not None:
                _replace(file.fileno(), before, body)
            return body is not None
    except FileNotFoundError:
        return False


def _replace(file: int, before: bytes, body: bytes) -> None:
    """What a full disk takes of the new content must not stay: a line that is cut off has no mark."""
    if os.pwrite(file, body, 0) == len(body):
        os.ftruncate(file, len(body))
        return
    os.pwrite(file, before, 0)
    os.ftruncate(file, len(before))
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _wanted(body: bytes, entries: Mapping[str, Sequence[str]]) -> bytes | None:
    """The file as it should be; None where it is so."""
    existing = body.decode(errors="surrogateescape")
    wanted = render(existing, entries)
    return None if wanted == existing else wanted.encode(errors="surrogateescape")


def _without_ours(existing: str) -> str:
    kept: list[str] = []
    opened = -1
    for line in existing.splitlines(keepends=True):
        text = line.removesuffix("\n")
        if text.endswith(MARK_AFTER_OPEN_LINE):
            opened = len(kept)
        elif not text.endswith(MARK):
            kept.append(line)
    if 0 < opened == len(kept):
        kept[-1] = kept[-1].removesuffix("\n")
    return "".join(kept)


def _lines(address: str, names: Sequence[str]) -> Iterator[str]:
    line = address
    for name in names:
        if len(line) + len(name) > MAX_LINE and line != address:
            yield line
            line = address
        line += f" {name}"
    if line != address:
        yield line


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}{MARK}\n" for line in lines)
