"""The settings as this invocation sees them, and the two sockets the verbs talk to.

Most verbs only ask and need `places_of`: checking all settings takes longer than their question. They are
checked after all where nobody answers, since that may be why.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshlite import places
from meshlite.cli.client import Client
from meshlite.cli.failure import Failure, WrongSettings
from meshlite.cli.front import Front
from meshlite.places import Places

if TYPE_CHECKING:
    from meshlite.config import Settings


def settings_of(ctx: click.Context, **flags: object) -> Settings:
    """Settings from the file of `--config`, the environment, and flags that are not None."""
    return _settings(front_of(ctx).config, **flags)


def _settings(config: Path | None, **flags: object) -> Settings:
    from meshlite.config import from_process

    try:
        settings = from_process(config, **flags)
        if settings.extension_providers:
            from meshlite.server.mesh_settings import mesh_settings

            mesh_settings(settings)
        return settings
    except ValueError as error:
        raise WrongSettings(
            "the settings cannot be used",
            why=str(error),
            next_step="correct them: docs/operations.md lists them",
        ) from error


def places_of(ctx: click.Context) -> Places | Settings:
    """Where this host's server and agent are. A file named on the command line is checked at once."""
    config = front_of(ctx).config
    if config is not None:
        return _settings(config)
    try:
        return places.from_process()
    except ValueError:
        return _settings(None)


def front_of(ctx: click.Context | None) -> Front:
    """What was said before the verb; nothing, where there is no command line."""
    front = ctx.find_root().obj if ctx else None
    return front if isinstance(front, Front) else Front()


def host_config(ctx: click.Context) -> Path | None:
    """The settings file, for verbs that work on this host. Raises UsageError where a server was named."""
    front = front_of(ctx)
    if front.server is not None:
        raise click.UsageError(f"{ctx.command.name} works on this host: leave --server out")
    return front.config


def server_of(settings: Places | Settings) -> Client:
    """The server of `--server`, with a bearer token; else the one on this host."""
    front = front_of(click.get_current_context(silent=True))
    if front.server is None:
        return _client(settings.paths.admin_socket, "the server", settings, "server")
    from meshlite.cli.remote import remote

    advice = "check the URL, and that the way there is open"
    return Client(settings.paths.admin_socket, "the server", advice, remote(front.server, _token(front)))


def _token(front: Front) -> str:
    if front.token_file is not None:
        token = front.token_file.read_text().strip()
    else:
        token = os.environ.get("MESHLITE_TOKEN", "").strip()
    if not token:
        step = "give --token-file FILE or MESHLITE_TOKEN; made on its host by: meshlite access create"
        raise Failure(f"{front.server} wants a bearer token", next_step=step)
    return token


def agent_of(settings: Places | Settings) -> Client:
    return _client(settings.paths.agent_socket, "this host's agent", settings, "agent")


def _client(socket: Path, name: str, settings: Places | Settings, part: str) -> Client:
    config = front_of(click.get_current_context(silent=True)).config
    doubt = (lambda: _settings(config)) if isinstance(settings, Places) else None
    pid_file = settings.paths.run / f"{part}.pid"
    return Client(socket, name, _advice(settings, part), doubt=doubt, pid_file=pid_file)


def _advice(settings: Places | Settings, part: str) -> str:
    return f"start the mesh: meshlite up -d (log of the last run: {settings.paths.state}/log/{part}.log)"
