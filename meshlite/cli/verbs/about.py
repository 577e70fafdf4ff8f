"""`meshlite version` and `meshlite completion`."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click

from meshlite.cli.failure import Failure, Unreachable
from meshlite.cli.output import Output, columns, emit, output_option, plain
from meshlite.cli.settings import agent_of, places_of, server_of

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Show the versions of the parts.")
@output_option
@click.pass_context
def version(ctx: click.Context, output: Output) -> None:
    """Show the versions of the command line, the running server, agent and node proxy, and of Python.

    \b
    JSON: {"cli", "server", "agent", "envoy", "python"}; "" where a part does not run.
    """
    from meshlite import __version__

    settings = places_of(ctx)
    values = {"cli": __version__, "server": "", "agent": "", "envoy": "", "python": platform.python_version()}
    with suppress(Unreachable):
        values["server"] = server_of(settings).get("/v1/health")["version"]
    with suppress(Unreachable):
        status = agent_of(settings).get("/v1/status")
        values |= {"agent": status["version"], "envoy": status["proxy"].get("version", "")}
    values["envoy"] = values["envoy"] or envoy_version()
    emit(
        values,
        output,
        lambda: columns(("PART", "VERSION"), [(k, plain(v or "-")) for k, v in values.items()]),
    )


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print the completion script of SHELL (default: the shell you use).

    \b
    bash:  echo 'eval "$(meshlite completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(meshlite completion zsh)"' >> ~/.zshrc
    fish:  meshlite completion fish > ~/.config/fish/completions/meshlite.fish
    """
    from click.shell_completion import get_completion_class

    from meshlite.cli.main import COMPLETION_VARIABLE, root

    shell = shell or Path(os.environ.get("SHELL", "")).name
    cls = get_completion_class(shell) if shell in SHELLS else None
    if cls is None:
        raise Failure(
            f"no completion for {shell or 'an unknown shell'}", next_step=f"name one of: {', '.join(SHELLS)}"
        )
    click.echo(cls(root, {}, "meshlite", COMPLETION_VARIABLE).source())


def envoy_version() -> str:
    """The version of the Envoy binary that comes with meshlite; empty if it does not run."""
    program = Path(sys.executable).with_name("envoy")
    found = str(program) if program.exists() else shutil.which("envoy")
    if not found:
        return ""
    try:
        done = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    # "<program>  version: <commit>/<version>/<state>/<build>/<tls library>"
    found_version = re.search(r"version: \w+/([\w.-]+)/", done.stdout)
    return found_version.group(1) if found_version else ""
