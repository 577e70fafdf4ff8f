"""The front door: the list of verbs, each loaded when it is asked for; no traceback leaves through it.

Only click is imported at the top, so that help and completion answer at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from meshlite.cli.failure import Failure
from meshlite.cli.front import Front

FAMILIES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Start and stop": {
        "up": ("up", "Put a Compose project into the mesh; start what is needed."),
        "down": ("down", "Take a project out; with the last one, stop everything."),
        "demo": ("demo", "Tour of the mesh on the running demo application."),
        "doctor": ("doctor", "Check whether this host can carry the mesh."),
    },
    "Look": {
        "status": ("status", "Health of the mesh at a glance."),
        "analyze": ("analyze", "Find conflicts and dangling references, in files or in the mesh."),
        "explain": ("explain", "What a request would meet on its way, and why."),
        "describe": ("describe", "All about one service: names, ports, endpoints, rules."),
        "get": ("get", "List resources, services, workloads or nodes."),
        "certs": ("certs", "Certificates that the mesh has issued."),
        "proxy-status": ("proxy", "State of this host's node proxy."),
        "proxy-config": ("proxy", "What the node proxy has been told."),
    },
    "Change": {
        "apply": ("resources", "Create or change resources from YAML."),
        "delete": ("resources", "Delete resources by name or by file."),
        "validate": ("resources", "Check YAML without a mesh; nothing is applied."),
    },
    "Shape traffic": {
        "route": ("shorthands", "Send a service's requests to versions of it."),
        "fault": ("shorthands", "Delay or abort a part of a service's requests."),
        "mirror": ("shorthands", "Send a copy of a service's requests to a version."),
        "timeout": ("shorthands", "Limit how long a service's requests may take."),
        "retry": ("shorthands", "Say how often failed requests to a service are tried again."),
        "expose": ("exposures", "Open a port of this mesh's hosts for a service."),
        "egress": ("exposures", "Send calls to an outside host through the egress gateway."),
    },
    "Who may call whom": {
        "allow": ("permissions", "Let a service call another, and those that are not named no more."),
        "deny": ("permissions", "Forbid a service to call another; or --all calls in a namespace."),
        "mtls": ("permissions", "Let only the mesh in (strict), or everybody (permissive)."),
        "policies": ("permissions", "Which policies hold for a service, in the order they are asked."),
        "authz": ("authz", "What policies would make of a call."),
    },
    "Who may come in": {
        "token": ("token", "Let nodes join: create, list and revoke join tokens."),
        "ca": ("ca", "The mesh's certificate authority: show, rotate, bring your own."),
        "access": ("access", "Let people use the mesh from elsewhere, with a role."),
        "audit": ("audit", "Who changed what, and who was refused."),
    },
    "Processes and shell": {
        "server": ("processes", "Run the central server in the foreground."),
        "agent": ("processes", "Run this host's node agent in the foreground."),
        "version": ("about", "Show the versions of the parts."),
        "completion": ("about", "Print the completion script of a shell."),
    },
}
"""Heading -> verb -> (module in meshlite/cli/verbs that defines it, what it does)."""

VERBS = {name: row for family in FAMILIES.values() for name, row in family.items()}


COMPLETION_VARIABLE = "_MESHLITE_COMPLETE"
"""Set by the shell's completion script; what is not understood then stays silent."""


class Verbs(click.Group):
    """A group whose commands are imported on first use; `proxy-status` is `proxy_status` in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"meshlite.cli.verbs.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in VERBS)
        for heading, verbs in FAMILIES.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, (_, text) in verbs.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        verbs = [CompletionItem(name, help=VERBS[name][1]) for name in VERBS if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().main(*args, **extra)
        except Exception as error:
            if os.environ.get("MESHLITE_DEBUG") or extra.get("standalone_mode") is False:
                raise
            if COMPLETION_VARIABLE not in os.environ:
                unexpected(error).show()
            sys.exit(1)


def unexpected(error: Exception) -> Failure:
    """A defect of ours, or a file that cannot be read or written, said without a traceback."""
    if isinstance(error, OSError) and error.filename:
        return Failure(f"cannot use {error.filename}", why=error.strerror or str(error))
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Failure("there is no room left on a disk", next_step="df -h shows on which one")
    reason = str(error) or type(error).__name__
    return Failure(
        "meshlite stumbled over something it did not expect",
        why=f"{type(error).__name__}: {reason}",
        next_step="run the command again with MESHLITE_DEBUG=1 to see where, and report it",
    )


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Every list and status takes -o json. Exit codes: 0 done, 1 failed, 2 wrong usage.",
)
@click.option(
    "--config",
    "config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings file, instead of /etc/meshlite/meshlite.yaml.",
)
@click.option("--server", metavar="URL", help="Ask this server, with a bearer token; instead of this host's.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The bearer token for it, else in MESHLITE_TOKEN.",
)
@click.version_option(None, "--version", package_name="meshlite", message="meshlite %(version)s")
@click.pass_context
def root(ctx: click.Context, config: Path | None, server: str | None, token_file: Path | None) -> None:
    """An Istio-compatible service mesh beside Docker Compose, without Kubernetes."""
    ctx.obj = Front(config, server, token_file)


def main() -> None:
    """Entry point of the `meshlite` command."""
    root.main(args=sys.argv[1:], prog_name="meshlite")
