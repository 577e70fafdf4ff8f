"""`meshlite up`: server, agent and node proxy on this host, and a Compose project in the mesh."""

from __future__ import annotations

import signal
from collections.abc import Collection, Sequence
from pathlib import Path

import click

from meshlite import __version__
from meshlite.cli import engine as engines
from meshlite.cli.failure import Failure
from meshlite.cli.invocation import command
from meshlite.cli.lifecycle import agent_part, ensure, keeping_watch, need_root, running, server_part
from meshlite.cli.output import note, say
from meshlite.cli.progress import step
from meshlite.cli.projects import current_project, foreign, join, project_option
from meshlite.cli.readiness import wait_for_capture, wait_for_engine, wait_for_hook, wait_for_proxy
from meshlite.cli.settings import host_config, server_of, settings_of
from meshlite.cli.signals import unmoved_by, until_signalled
from meshlite.cli.turn import Turn
from meshlite.config import Settings


@click.command(short_help="Put a Compose project into the mesh; start what is needed.")
@click.option("-d", "--detach", is_flag=True, help="Return when all is up; else show events until Ctrl-C.")
@project_option
@click.option(
    "--all", "everything", is_flag=True, help="All containers of this host, whatever their project."
)
@click.option("--no-hook", is_flag=True, help="Capture by the engine's events; leaves daemon.json untouched.")
@click.pass_context
def up(ctx: click.Context, detach: bool, projects: tuple[str, ...], everything: bool, no_hook: bool) -> None:
    """Put a Compose project into the mesh. Starts server, agent and node proxy where they do not run.

    The Compose file stays as it is and containers keep running. Running it again changes nothing. Without -d
    it stays and shows events; Ctrl-C, also on the way there, does what `meshlite down` does.

    \b
    cd my-compose-app && sudo meshlite up -d
    sudo meshlite up -d -p shop -p billing
    """
    config = host_config(ctx)
    need_root("up")
    settings = settings_of(ctx, hook=False if no_hook else None)
    if settings.server:
        why = f"the settings name a server elsewhere: {settings.server}"
        raise Failure(
            "up starts a mesh of this host", why=why, next_step="meshlite agent joins that server's mesh"
        )
    wanted = projects if projects or everything else (current_project(),)
    if not detach:
        attached(settings, config, wanted, everything)
        return
    with Turn(settings.paths.run, "up") as turn:
        turn.take()
        start(settings, config, wanted, everything)
    say(next_steps(wanted, everything, idle(settings, wanted)))


def attached(settings: Settings, config: Path | None, projects: Sequence[str], everything: bool) -> None:
    """`up` until a signal, also one that comes on the way, and then `down`."""
    from meshlite.cli.events import follow
    from meshlite.cli.verbs.down import take_down

    begun = False
    # A closed terminal is told by two signals, and whoever sends SIGTERM may send it again.
    with unmoved_by(signal.SIGHUP, signal.SIGTERM), Turn(settings.paths.run, "up") as turn:
        with until_signalled():
            turn.take()
            begun = True
            start(settings, config, projects, everything)
            turn.give_up()
            note("showing events; Ctrl-C takes the mesh down again")
            follow(server_of(settings))
        if not begun:
            return
        turn.take()
        if not foreign(settings, projects):
            take_down(settings, config, projects, everything)


def start(settings: Settings, config: Path | None, projects: Sequence[str], everything: bool) -> None:
    """All steps of `up`, each waiting until what it started really works."""
    with step("Docker engine") as current:
        current.detail = wait_for_engine(settings)
    server, agent = server_part(settings, config), agent_part(settings, config, settings.hook)
    with keeping_watch(settings, server, agent):
        with step("server") as current:
            current.detail = ensure(server, __version__)
        with step("projects") as current:
            current.detail = join(settings, projects, everything)
        with step("node agent") as current:
            current.detail = ensure(agent, __version__)
    with step("node proxy") as current, running(agent):
        current.detail = wait_for_proxy(settings)
    with step("runtime hook") as current, running(agent):
        current.detail = wait_for_hook(settings)
    with step("containers") as current, running(agent):
        current.detail = wait_for_capture(settings, projects, everything)


def idle(settings: Settings, projects: Sequence[str]) -> tuple[str, ...]:
    """Those of the projects that no container runs of."""
    running = engines.running(engines.engine_of(settings.paths.docker_socket))
    return tuple(name for name in projects if name not in {container.project for container in running})


def next_steps(projects: Sequence[str], everything: bool, idle: Collection[str] = ()) -> str:
    """What has come of it and what to try next, for people. `idle`: projects of which nothing runs."""
    there = [name for name in projects if name not in idle]
    what = "every container of this host" if everything else ", ".join(there)
    are = "are" if len(there) > 1 and not everything else "is"
    said = [f"{what} {are} in the mesh."] if what else []
    said += [
        f"No container of {name} runs; it joins when it is started." for name in projects if name in idle
    ]
    name = command()
    return f"{' '.join(said)} Next: {name} status · {name} describe SERVICE · {name} apply -f FILE"
