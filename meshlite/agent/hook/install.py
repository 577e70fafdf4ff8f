"""Enters the engine's configuration, and leaves it so that daemon.json is as it was, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshlite.agent.hook import daemon_json, dockerd, files
from meshlite.agent.hook.dockerd import Dockerd
from meshlite.agent.hook.files import Folder, Note
from meshlite.config import Settings
from meshlite.sources.engine import Engine, EngineError, Record

OLDEST_ENGINE = 23
RELOAD_SECONDS = 5.0
START_SECONDS = 30.0
"""An engine that starts answers nobody before it has looked through its containers."""
PID_FILES = (Path("/var/run/docker.pid"),)


@dataclass(frozen=True)
class HookState:
    """Whether containers are captured before they start; where not, `reason` says why, in a sentence.

    `passing`: the engine was not there, or about to start, so that another try may succeed.
    """

    active: bool
    reason: str = ""
    passing: bool = False


class NotLeft(Exception):
    """The engine's file still names us and cannot be put right by us."""


class NotPossible(Exception):
    """The engine cannot be entered; containers are captured by its events then."""


async def install(settings: Settings, engine: Engine, pid_files: tuple[Path, ...] = PID_FILES) -> HookState:
    """Have the engine run our wrapper for all new containers. Never raises; repeating it is fine.

    The engine's file is only written where everything speaks for success, and put back where the engine does
    not take it.
    """
    try:
        await _install(settings, engine, pid_files)
    except (NotPossible, EngineError, OSError, ValueError) as error:
        why = f"containers are captured by events, a moment after their start: {error}"
        return HookState(False, why, passing=isinstance(error, EngineError))
    return HookState(True)


async def uninstall(settings: Settings, engine: Engine, pid_files: tuple[Path, ...] = PID_FILES) -> list[str]:
    """Leave the engine's configuration as it was; returns a sentence for everything that had to stay.

    First a reload with the former values said aloud, since absent keys do not unset what the engine knows;
    then the file itself. Raises OSError where the file cannot be written, NotLeft where it is not understood.
    """
    folder, process = Folder(settings), dockerd.find(pid_files)
    note = folder.note() or _lost_note(settings, folder, process)
    if note is None:
        return await _removed(folder, engine)
    file = Path(note.file)
    try:
        target = folder.target(note, files.read(file))
    except ValueError as error:
        why = f"{file} was edited and is left alone, since {error}; take {daemon_json.RUNTIME} out by hand"
        raise NotLeft(why) from error
    left = []
    if (ready := await _ready(engine, pid_files)) is not None:
        parting = daemon_json.parting(target, note.former)
        with contextlib.suppress(OSError):  # the state's disk is full: whoever ends us now is the worse off
            folder.part(note, target, parting)
        files.replace(file, parting)
        ready.reload()
    if process is not None and (ready is None or not await _until(engine, _without_us)):
        left.append(f"the engine knows {daemon_json.RUNTIME} until its next restart")
    files.put_back(file, target, note.made_folder)
    folder.forget()
    return [*left, *await _removed(folder, engine)]


async def _removed(folder: Folder, engine: Engine) -> list[str]:
    """The wrapper goes as soon as nothing runs through it any more; a sentence where it stays."""
    if not folder.path.exists():
        return []
    if await _in_use(engine):
        return [f"{folder.wrapper} stays: containers run that were started through it"]
    folder.remove()
    return []


async def _install(settings: Settings, engine: Engine, pid_files: tuple[Path, ...]) -> None:
    found = dockerd.find(pid_files)
    info = await engine.info()
    process = _suitable(info, dockerd.find(pid_files))
    if process != found:
        raise EngineError("the engine is being started anew")
    folder, file = Folder(settings), process.config_file(settings.paths.daemon_json)
    current = _finished(folder, file)
    try:
        entered_before = daemon_json.names_us(current)
    except ValueError as error:
        raise NotPossible(f"{file}: {error}") from error
    note = folder.note() or _lost_note(settings, folder, process)
    former = _former(info, current, note if entered_before else None)
    folder.write_programs(_real(process, info, former))
    if entered_before and folder.note() and info.get("DefaultRuntime") == daemon_json.RUNTIME:
        return
    content = daemon_json.entered(current, str(folder.wrapper))
    if not entered_before:
        made_folder = not file.parent.exists()
        note = Note(str(file), current is not None, made_folder, former, files.digest(content))
        folder.keep(note, current)
    files.replace(file, content)
    process.reload()
    if not await _until(engine, lambda info: info.get("DefaultRuntime") == daemon_json.RUNTIME):
        await uninstall(settings, engine, pid_files)
        raise NotPossible(f"the engine did not take {file}, which is as it was; the engine's log says why")


def _finished(folder: Folder, file: Path) -> bytes | None:
    """The engine's file; first it is put back where we were ended while we left."""
    note, current = folder.note(), files.read(file)
    if note is None or not folder.is_parting(note, current):
        return current
    files.put_back(file, folder.target(note, current), note.made_folder)
    folder.forget()
    return files.read(file)


def _suitable(info: Record, process: Dockerd | None) -> Dockerd:
    """The engine's process, where it can be entered at all."""
    number = str(info.get("ServerVersion", ""))
    major = number.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST_ENGINE:
        raise NotPossible(
            f"Docker {number} cannot start such containers without meshlite; {OLDEST_ENGINE} and later can"
        )
    if process is None:
        raise NotPossible("the engine's process is not found on this machine")
    if process.conflict:
        raise NotPossible(f"the engine was started with {process.conflict}, which rules out daemon.json")
    return process


def _former(info: Record, current: bytes | None, note: Note | None) -> str:
    """The default runtime before us. Never ours, which an engine still names that has not heard that we left:
    a wrapper that runs itself would do so without end."""
    file = daemon_json.parse(current).get(daemon_json.DEFAULT)
    for name in (note and note.former, info.get("DefaultRuntime"), file):
        if name and name != daemon_json.RUNTIME:
            return str(name)
    return "runc"


def _real(process: Dockerd, info: Record, former: str) -> tuple[str, ...]:
    """The command of the runtime that was the default before us."""
    configured: dict[str, Any] = (info.get("Runtimes") or {}).get(former) or {}
    if configured.get("runtimeType") or (former != "runc" and not configured.get("path")):
        raise NotPossible(f"the engine's default runtime {former!r} is no program that a wrapper can run")
    return (process.program(configured.get("path") or former), *(configured.get("runtimeArgs") or ()))


def _lost_note(settings: Settings, folder: Folder, process: Dockerd | None) -> Note | None:
    """A note for a file that names us though we have no memory of it; None where it does not.

    A mesh with another state folder may have entered it, and then remembers how it was.
    """
    file = process.config_file(settings.paths.daemon_json) if process else settings.paths.daemon_json
    try:
        content = files.read(file)
        inside, wrapper = daemon_json.names_us(content), daemon_json.wrapper(content)
    except ValueError:
        return None
    if adopted := folder.adopt(wrapper):
        return adopted
    return Note(str(file), existed=False, made_folder=False, former="runc", written="") if inside else None


async def _ready(engine: Engine, pid_files: tuple[Path, ...]) -> Dockerd | None:
    """The engine's process once it answers: a signal to read its file anew ends one that still starts."""

    async def answers(process: Dockerd) -> bool:
        try:
            await engine.info()
        except EngineError:
            return False
        return dockerd.find(pid_files) == process

    for _ in range(int(START_SECONDS / 0.1)):
        if (process := dockerd.find(pid_files)) is None or await answers(process):
            return process
        await asyncio.sleep(0.1)
    return None


def _without_us(info: Record) -> bool:
    return daemon_json.RUNTIME not in info.get("Runtimes", {})


async def _in_use(engine: Engine) -> bool:
    """Containers that were started through the wrapper are stopped through it too."""
    try:
        if daemon_json.RUNTIME in (await engine.info()).get("Runtimes", {}):
            return True
        records = [await engine.inspect(container) or {} for container in await engine.running()]
    except EngineError:
        return True
    return any((record.get("HostConfig") or {}).get("Runtime") == daemon_json.RUNTIME for record in records)


async def _until(engine: Engine, holds: Callable[[Record], bool]) -> bool:
    """Whether the engine's description of itself meets the condition soon."""
    for _ in range(int(RELOAD_SECONDS / 0.1)):
        try:
            if holds(await engine.info()):
                return True
        except EngineError:
            pass
        await asyncio.sleep(0.1)
    return False
