"""The files of the hook: the wrapper, what it calls, the engine's daemon.json and what that was before."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
from dataclasses import asdict, dataclass
from dataclasses import replace as changed
from pathlib import Path

from meshlite.agent.hook import ask, daemon_json
from meshlite.agent.hook.wrapper import Wrapper, script
from meshlite.config import Settings


@dataclass(frozen=True)
class Note:
    """How to leave again. `former`: the default runtime before us; `written`: a digest of what we wrote;
    `parting`: a digest of what stands there for a moment while we leave."""

    file: str
    existed: bool
    made_folder: bool
    former: str
    written: str
    parting: str = ""


class Folder:
    """`runtime` in the state folder: the wrapper, its helper, and the note of what daemon.json was before."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.paths.state / "runtime"
        self.wrapper = self.path / "meshlite-runc"
        self._ask = self.path / "ask.py"
        self._note = self.path / "note.json"
        self._before = self.path / "daemon.json.before"
        self._after = self.path / "daemon.json.after"
        self._socket = settings.paths.hook_socket
        self._fail_closed = settings.fail_closed

    def write_programs(self, real: tuple[str, ...]) -> None:
        """Each is replaced in one step, since the engine may run it at any time."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o755)
        python = os.path.realpath(sys.executable)
        text = script(Wrapper(real, python, self._ask, self._socket, self._fail_closed))
        replace(self._ask, Path(ask.__file__).read_bytes())
        replace(self.wrapper, text.encode(), 0o755)

    def note(self) -> Note | None:
        return _note(read(self._note))

    def keep(self, note: Note, original: bytes | None) -> None:
        """Remember the file as it was. The note comes last: with it the memory is complete."""
        if original is not None:
            replace(self._before, original, 0o600)
        replace(self._note, json.dumps(asdict(note)).encode(), 0o600)

    def part(self, note: Note, target: bytes | None, parting: bytes) -> None:
        """Remember the file to leave behind, since what is written first is not yet it."""
        self._after.unlink(missing_ok=True)
        if target is not None:
            replace(self._after, target, 0o600)
        replace(self._note, json.dumps(asdict(changed(note, parting=digest(parting)))).encode(), 0o600)

    def is_parting(self, note: Note, current: bytes | None) -> bool:
        """Whether we were ended while we left."""
        return current is not None and digest(current) == note.parting

    def target(self, note: Note, current: bytes | None) -> bytes | None:
        """The file to leave behind; None: no file. Raises ValueError where `current` cannot be understood."""
        if self.is_parting(note, current):
            return read(self._after)
        return target(current, read(self._before) if note.existed else None, note.written)

    def adopt(self, wrapper: str) -> Note | None:
        """Take over the memory beside another mesh's `wrapper`, which the engine's file names; None: none."""
        other = Path(wrapper).parent
        if not wrapper or other == self.path or not (note := _note(read(other / self._note.name))):
            return None
        note = changed(note, parting="")
        self.keep(note, read(other / self._before.name) if note.existed else None)
        return note

    def forget(self) -> None:
        self._note.unlink(missing_ok=True)
        self._before.unlink(missing_ok=True)
        self._after.unlink(missing_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _note(content: bytes | None) -> Note | None:
    """None for a note that cannot be read: a disk that was full must not keep anybody from leaving."""
    try:
        return Note(**json.loads(content or b""))
    except (ValueError, TypeError):
        return None


def target(current: bytes | None, original: bytes | None, written: str) -> bytes | None:
    """The file to leave behind: the original, or what others made of it meanwhile without what is ours.

    None: no file. Where there was none, one that then says nothing is ours too.
    """
    if current is None or digest(current) == written:
        return original
    if not daemon_json.names_us(current):
        return current
    left = daemon_json.without_ours(current, original)
    return left if original is not None or daemon_json.parse(left) else None


def put_back(file: Path, content: bytes | None, made_folder: bool) -> None:
    """Leave `file` with `content`; None: there was no such file."""
    if content is not None:
        replace(file, content)
        return
    file.unlink(missing_ok=True)
    if made_folder and not any(file.parent.iterdir()):
        file.parent.rmdir()


def read(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def replace(file: Path, content: bytes, mode: int = 0o644) -> None:
    """Write the file as a whole, never half; owner and mode stay where it exists, and a link to it does."""
    file = file.resolve()
    if not file.parent.exists():
        file.parent.mkdir(parents=True)
        file.parent.chmod(0o755)
    fresh = file.with_name(file.name + ".meshlite-new")
    try:
        fresh.write_bytes(content)
        if file.exists():
            before = file.stat()
            os.chown(fresh, before.st_uid, before.st_gid)
            mode = stat.S_IMODE(before.st_mode)
        fresh.chmod(mode)
        os.replace(fresh, file)
    except OSError:
        fresh.unlink(missing_ok=True)  # the disk is full, as a rule
        raise


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
