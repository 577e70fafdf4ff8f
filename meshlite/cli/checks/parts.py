"""Check of meshlite's own parts: do server and agent stay up, and does somebody start them again."""

from __future__ import annotations

from meshlite.cli import supervision
from meshlite.cli.checks.finding import Finding, fail, ok, warn
from meshlite.cli.lifecycle import has_unit
from meshlite.cli.processes import recorded
from meshlite.config import Settings


def parts(settings: Settings) -> Finding:
    run, log = settings.paths.run, settings.paths.state / "log"
    if failing := supervision.troubles(run):
        said = "; ".join(f"the {name} {sentence}" for name, sentence in failing.items())
        logs = ", ".join(str(log / f"{name}.log") for name in failing)
        return fail(said, f"correct what it says; more is in {logs}")
    running = [name for name in ("server", "agent") if recorded(run / f"{name}.pid")]
    watched = supervision.watched(run) | {n for n in running if has_unit(f"meshlite-{n}.service")}
    if not running and not watched:
        return ok("none runs")
    if alone := [name for name in running if name not in watched]:
        return warn(f"nobody starts the {' and the '.join(alone)} again after a crash", "meshlite up -d")
    return ok(f"{' and '.join(sorted(watched))} are started again if they end")
