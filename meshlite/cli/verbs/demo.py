"""`meshlite demo`: a tour of the mesh on the running demo application, with real traffic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from meshlite.cli import engine as engines
from meshlite.cli.engine import SERVICE_LABEL, Container
from meshlite.cli.failure import Failure
from meshlite.cli.invocation import command, shortest
from meshlite.cli.lifecycle import wait_until
from meshlite.cli.output import BAD, DIM, GOOD, emit, marked, paint, plain, say, show
from meshlite.cli.progress import step
from meshlite.cli.settings import server_of, settings_of
from meshlite.config import Settings

if TYPE_CHECKING:
    from meshlite.cli.tour.stops import Observation, Place

NEEDED = {"productpage": 1, "details": 1, "ratings": 1, "reviews": 3}
READY_SECONDS = 30.0


@click.command(short_help="Tour of the mesh on the running demo application.")
@click.option(
    "-p", "--project", default="bookinfo", show_default=True, help="Compose project of the application."
)
@click.option("--json", "as_json", is_flag=True, help="Print the observations as JSON.")
@click.pass_context
def demo(ctx: click.Context, project: str, as_json: bool) -> None:
    """Show what the mesh does, on the demo application compose/bookinfo.yaml, which must run and be meshed.

    Who calls whom, a 90/10 canary, a route by user, a delay, STRICT with a stranger at the door, the undo.
    Every rule it applies is deleted again, also when it fails. Exit code 1 if something is not as expected.

    \b
    JSON: {"project", "ok",
           "observations": [{"stop", "title", "expected", "seen", "ok", "observed", "files"}]}
    """
    from meshlite.cli.tour.stops import STOPS

    settings = settings_of(ctx)
    with step("demo application"):
        caller = ready(settings, project)
    observations = []
    with prepared(settings, project, caller) as place:
        for stop in STOPS:
            with step(stop.__name__.replace("_", " ")):
                observations.append(stop(place))
    value = {
        "project": project,
        "ok": all(observation.ok for observation in observations),
        "observations": [_row(observation) for observation in observations],
    }
    emit(value, "json" if as_json else "table", lambda: _show(observations, project))
    if not value["ok"]:
        missed = ", ".join(observation.stop for observation in observations if not observation.ok)
        raise Failure(f"not seen as expected: {missed}", next_step="meshlite status; meshlite doctor")


def ready(settings: Settings, project: str) -> Container:
    """Wait until the application is in the mesh and healthy; its container that will call."""
    missing: list[str] = []

    def complete() -> bool:
        services = server_of(settings).get("/v1/services", namespace=project)["services"]
        good = {
            view["name"]: sum(e["captured"] and e["health"] == "healthy" for e in view["endpoints"])
            for view in services
        }
        missing[:] = [name for name, count in NEEDED.items() if good.get(name, 0) < count]
        return not missing

    if not wait_until(complete, READY_SECONDS, pause=0.3):
        raise Failure(
            f"the demo application is not ready in the mesh: {', '.join(missing)}",
            next_step=f"docker compose -f compose/bookinfo.yaml up -d && meshlite up -d -p {project}",
        )
    engine = engines.engine_of(settings.paths.docker_socket)
    containers = engines.running(engine, label=f"{engines.PROJECT_LABEL}={project}")
    return next(c for c in containers if c.labels[SERVICE_LABEL] == "productpage")


@contextmanager
def prepared(settings: Settings, project: str, caller: Container) -> Iterator[Place]:
    """The scene: no rules but the tour's, a stranger beside the application; both gone in the end."""
    from meshlite.cli.tour import rules
    from meshlite.cli.tour.stops import Place
    from meshlite.cli.tour.traffic import stranger

    rules.refuse_foreign(settings, project)
    rules.clear(settings, project)
    try:
        with stranger(caller) as name:
            yield Place(settings, project, caller, name)
    finally:
        rules.clear(settings, project)


def _row(observation: Observation) -> dict[str, Any]:
    from dataclasses import asdict

    from meshlite.cli.tour.rules import FOLDER

    return {**asdict(observation), "files": [str(FOLDER / name) for name in observation.files]}


def _show(observations: list[Observation], project: str) -> None:
    from rich.table import Table

    from meshlite.cli.tour.rules import FOLDER

    table = Table(box=None, padding=(0, 2, 1, 0), header_style="bold")
    for heading in ("", "DONE", "EXPECTED", "SEEN"):
        table.add_column(heading)
    for observation in observations:
        sign = paint("✓", GOOD) if observation.ok else paint("✗", BAD)
        texts = (plain(observation.title), paint(observation.expected, DIM), plain(observation.seen))
        table.add_row(*map(marked, (sign, *texts)))
    show(table, width=140)
    folder = shortest(FOLDER)
    rules = f"-f {folder}/subsets.yaml -f {folder}/canary.yaml"
    say(f"{click.style('Try next', bold=True)} (the tour's rules are gone again; these are its files)")
    scope = f" -n {project}"
    for words in (
        "status",
        f"describe reviews{scope}",
        f"apply {rules}{scope}   # then reload the page",
        "proxy-config routes productpage",
        f"delete {rules}{scope}",
    ):
        say(f"  {command()} {words}")
