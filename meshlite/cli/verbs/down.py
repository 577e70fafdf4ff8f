"""`meshlite down`: take a project out of the mesh; with the last, stop everything and restore the host."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshlite.cli import engine as engines
from meshlite.cli import processes, supervision
from meshlite.cli.failure import Failure
from meshlite.cli.invocation import command
from meshlite.cli.lifecycle import agent_part, ask, end, need_root, process_of, server_part, wait_until
from meshlite.cli.output import note
from meshlite.cli.progress import step
from meshlite.cli.projects import foreign, leave_all, project_option, put, remaining
from meshlite.cli.settings import agent_of, host_config, settings_of
from meshlite.cli.turn import TURN_FILE, Turn
from meshlite.config import Settings

if TYPE_CHECKING:
    from meshlite.agent.sweep import Swept

LEAVE_SECONDS = 60.0


@click.command(short_help="Take a project out; with the last one, stop everything.")
@project_option
@click.option("--all", "everything", is_flag=True, help="All projects: stop everything on this host.")
@click.option("--purge", is_flag=True, help="Also delete the state: resources, certificates, logs.")
@click.option("--ignore-missing", is_flag=True, help="It is fine if the project is not in the mesh.")
@click.option("-v", "--verbose", is_flag=True, help="List all that a part which had died left behind.")
@click.pass_context
def down(
    ctx: click.Context,
    projects: tuple[str, ...],
    everything: bool,
    purge: bool,
    ignore_missing: bool,
    verbose: bool,
) -> None:
    """Take a Compose project out of the mesh; its containers keep running, without the mesh.

    With the last project everything stops and the host is as it was before: rules, links, hosts files,
    daemon.json, processes, sockets. Works too when server or agent are dead. Resources and certificates stay
    for the next `up`, unless --purge is given.

    \b
    sudo meshlite down
    sudo meshlite down --all --purge
    """
    config = host_config(ctx)
    need_root("down")
    settings = settings_of(ctx)
    with Turn(settings.paths.run, "down") as turn:
        turn.take()
        if ignore_missing and not everything and foreign(settings, projects):
            note(f"{', '.join(projects) or 'this folder'} is not in the mesh by itself; nothing to do")
            return
        take_down(settings, config, projects, everything, purge, verbose)


def take_down(
    settings: Settings,
    config: Path | None,
    projects: Sequence[str],
    everything: bool,
    purge: bool = False,
    verbose: bool = False,
) -> None:
    """Leave the projects; stop all parts if none remains."""
    staying = () if everything else remaining(settings, projects)
    if staying and purge:
        why = f"still in the mesh: {', '.join(staying)}"
        raise Failure("the state cannot be deleted", why=why, next_step="add --all to take all projects out")
    if staying:
        leave_some(settings, staying)
        return
    stop_everything(settings, config, verbose)
    if purge:
        with step("state deleted"):
            _purge(settings)
    elif settings.paths.state.exists():
        note(
            f"kept for the next up: {settings.paths.state} (resources, certificates, logs); "
            f"{command(root=True)} down --purge deletes it"
        )


def leave_some(settings: Settings, staying: Sequence[str]) -> None:
    """Tell the server which projects stay, and wait until the agent has let go of the others."""
    agent, engine = agent_of(settings), engines.engine_of(settings.paths.docker_socket)
    with step("project leaves") as current:
        put(settings, staying, everything=False)

        def left() -> bool:
            held = {w["id"][:12] for w in agent.get("/v1/status")["workloads"] if w["captured"]}
            return held <= {c.short_id for c in engines.meant(engines.running(engine), staying, False)}

        if not wait_until(left, LEAVE_SECONDS, pause=0.1):
            raise Failure(
                "the project has not left yet", next_step="meshlite status shows what is still held"
            )
        current.detail = f"still in the mesh: {', '.join(staying)}"


def stop_everything(settings: Settings, config: Path | None, verbose: bool) -> None:
    """Every container out, every process ended, every trace removed; each step also where parts are dead."""
    supervision.dismiss(settings.paths.run)
    server, agent = server_part(settings, config), agent_part(settings, config)
    if ask(agent) is not None:
        with step("agent leaves"):
            _let_agent_leave(settings)
    with step("agent stopped"):
        end(agent)
    with step("server stopped"):
        # So that the next `up` begins with the projects it is told.
        leave_all(settings)
        end(server)
    with step("leftovers swept") as current:
        found = _sweep(settings)
        count = f"{len(found.removed)} removed" + ("" if verbose else "; down -v lists such")
        current.detail = count if found.removed else "none"
    for text in (*(found.removed if verbose else ()), *found.stays):
        note(f"  {text}")
    _empty(settings.paths.run)
    if found.entered:
        where, advice = str(settings.paths.daemon_json), "correct that, then run meshlite down again"
        what = "the engine still starts containers through meshlite"
        raise Failure(what, where=where, why=found.entered, next_step=advice)


def _empty(run: Path) -> None:
    """Delete what the run folder holds, but for the turn, which takes the folder along when it ends."""
    for entry in run.iterdir() if run.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != TURN_FILE:
            entry.unlink(missing_ok=True)
    left = [entry.name for entry in run.iterdir() if entry.name != TURN_FILE] if run.is_dir() else []
    if left:
        raise Failure(
            "the run folder is still in use",
            where=str(run),
            why=f"still there: {', '.join(left)}",
            next_step="meshlite doctor shows by what",
        )


def _let_agent_leave(settings: Settings) -> None:
    """The agent takes back what it did and ends; one that does not manage it in time is left to the sweep."""
    process = process_of(agent_part(settings, None))
    try:
        agent_of(settings).call("POST", "/v1/shutdown", {"leave": True}, timeout=LEAVE_SECONDS)
    except Failure as failure:
        note(f"  {failure.message}; going on without it")
        return
    if process and not processes.wait(process, LEAVE_SECONDS):
        note("  the agent does not come to an end; going on without it")


def _purge(settings: Settings) -> None:
    """Delete the state, unless the engine still names the runtime wrapper that lies there."""
    state, daemon_json = settings.paths.state, settings.paths.daemon_json
    if daemon_json.exists() and str(state) in daemon_json.read_text(errors="replace"):
        why = (
            f"{daemon_json} still names the runtime wrapper there, and containers could not start without it"
        )
        raise Failure(
            "the state cannot be deleted", where=str(state), why=why, next_step="meshlite down once more"
        )
    # What the sweep has left of the hook is in use: containers are stopped and entered through it.
    for entry in state.iterdir() if state.is_dir() else ():
        if entry.is_dir() and entry.name != "runtime":
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.is_file():
            entry.unlink()
    with suppress(OSError):
        state.rmdir()


def _sweep(settings: Settings) -> Swept:
    from meshlite.agent.sweep import sweep

    try:
        return sweep(settings)
    except (OSError, RuntimeError) as error:
        why, advice = str(error), "correct that, then run meshlite down again"
        raise Failure("not everything could be swept", why=why, next_step=advice) from error
