"""The settings as this invocation sees them, and the two sockets the verbs talk to."""

from __future__ import annotations

import click

from meshlite.cli.client import Client
from meshlite.cli.failure import Failure
from meshlite.config import Settings, from_process


def settings_of(ctx: click.Context, **flags: object) -> Settings:
    """Settings from the file of `--config`, the environment, and flags that are not None."""
    config = ctx.find_root().obj
    try:
        return from_process(config, **flags)
    except ValueError as error:
        raise Failure("the settings cannot be used", why=str(error), next_step="correct them") from error


def server_of(settings: Settings) -> Client:
    return Client(settings.paths.admin_socket, "the server", _advice(settings, "server"))


def agent_of(settings: Settings) -> Client:
    return Client(settings.paths.run / "agent.sock", "this host's agent", _advice(settings, "agent"))


def _advice(settings: Settings, part: str) -> str:
    return f"start the mesh: meshlite up -d (log of the last run: {settings.paths.state}/log/{part}.log)"
