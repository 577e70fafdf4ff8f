"""`meshlite doctor`: can this host carry the mesh, and if not, what to do."""

from __future__ import annotations

from collections.abc import Callable

import click

from meshlite.cli.checks import kernel, parts, programs, room
from meshlite.cli.checks.finding import Finding, fail
from meshlite.cli.failure import Failure
from meshlite.cli.output import BAD, DIM, GOOD, WARN, Output, emit, output_option, say
from meshlite.cli.settings import settings_of
from meshlite.config import Settings

CHECKS: tuple[tuple[str, Callable[[Settings], Finding]], ...] = (
    ("root", kernel.root),
    ("capabilities", kernel.capabilities),
    ("kernel", kernel.kernel),
    ("nftables", kernel.nftables),
    ("links", kernel.links),
    ("cgroups", kernel.cgroups),
    ("engine", programs.engine),
    ("compose", programs.compose),
    ("forwarding", programs.forwarding),
    ("daemon.json", programs.daemon_json),
    ("envoy", programs.envoy),
    ("parts", parts.parts),
    ("ports", room.ports),
    ("disk", room.disk),
    ("clock", room.clock),
    ("leftovers", room.leftovers),
)
COLOURS = {"ok": GOOD, "warn": WARN, "fail": BAD}


@click.command(short_help="Check whether this host can carry the mesh.")
@output_option
@click.pass_context
def doctor(ctx: click.Context, output: Output) -> None:
    """Check this host: kernel, nftables, engine, ports, clock, disk, leftovers of an earlier crash.

    Looks only; nothing is changed. Exit code 1 if a check fails; warnings do not count.

    \b
    JSON: {"ok": bool, "checks": [{"name", "level": ok|warn|fail, "detail", "advice"}]}
    """
    settings = settings_of(ctx)
    findings = [(name, examine(check, settings)) for name, check in CHECKS]
    failed = [name for name, finding in findings if finding.level == "fail"]
    rows = [{"name": n, "level": f.level, "detail": f.detail, "advice": f.advice} for n, f in findings]
    emit({"ok": not failed, "checks": rows}, output, lambda: _show(findings))
    if failed:
        raise Failure(f"this host is not ready: {', '.join(failed)}", next_step="do what the lines above say")


def examine(check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    """Run one check; one that stumbles is a failed check, and the others go on."""
    try:
        return check(settings)
    except Exception as error:
        return fail(f"could not be checked: {error}", "MESHLITE_DEBUG=1 with the verb at hand may show more")


def _show(findings: list[tuple[str, Finding]]) -> None:
    width = max(len(name) for name, _ in findings)
    for name, finding in findings:
        level = click.style(f"{finding.level:<4}", fg=COLOURS[finding.level])
        say(f"{level}  {name:<{width}}  {finding.detail}")
        if finding.advice:
            say(f"{'':<{width + 8}}{click.style('→ ' + finding.advice, fg=DIM)}")
