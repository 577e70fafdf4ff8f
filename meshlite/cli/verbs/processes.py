"""`meshlite server` and `meshlite agent`: the two processes in the foreground; `up` starts them detached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from meshlite.cli.failure import Failure
from meshlite.cli.settings import settings_of


@click.command(short_help="Run the central server in the foreground.")
@click.pass_context
def server(ctx: click.Context) -> None:
    """Run the central server in the foreground, until SIGTERM or Ctrl-C.

    One per mesh. It keeps the registry, the resources and the certificate authority, and serves agents over
    HTTPS (port 7443) and this command line over a local socket. `meshlite up` starts it where it is needed.
    """
    settings = settings_of(ctx)
    with _process("server", settings.paths.run / "server.pid"):
        import asyncio

        from meshlite.server.app import run

        asyncio.run(run(settings))


@click.command(short_help="Run this host's node agent in the foreground.")
@click.option(
    "--server", "server_url", metavar="URL", help="Central server on another host, e.g. https://mesh:7443."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File with the join token; needed once, for a server on another host, and may be gone later.",
)
@click.option(
    "--no-hook", is_flag=True, help="Capture containers by the engine's events, not by the runtime hook."
)
@click.pass_context
def agent(ctx: click.Context, server_url: str | None, token_file: Path | None, no_hook: bool) -> None:
    """Run this host's node agent in the foreground, until SIGTERM or Ctrl-C.

    One per host. It finds containers, captures their traffic and drives the node proxy. When it ends, proxy
    and rules stay and traffic goes on; `meshlite down` is what takes them away.
    """
    settings = settings_of(ctx, server=server_url, hook=False if no_hook else None)
    token = token_file.read_text().strip() if token_file and token_file.exists() else ""
    with _process("agent", settings.paths.run / "agent.pid"):
        import asyncio

        from meshlite.agent.app import run

        asyncio.run(run(settings, token=token))


@contextmanager
def _process(name: str, file: Path) -> Iterator[None]:
    """Run with a pid file; a start that cannot work ends in one sentence.

    What the process writes is its own, unless it says otherwise.
    """
    from meshlite.cli.processes import pid_file

    os.umask(0o077)
    try:
        with pid_file(file):
            yield
    except (ValueError, OSError, RuntimeError) as error:
        raise Failure(
            f"the {name} cannot run", why=str(error), next_step="meshlite doctor checks this host"
        ) from error
