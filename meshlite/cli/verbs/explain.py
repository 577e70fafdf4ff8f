"""`meshlite explain`: what a request of one workload to another would meet, step by step, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from meshlite.cli.claims import claim_option, claimed
from meshlite.cli.failure import Failure
from meshlite.cli.output import DIM, Output, emit, output_option, say
from meshlite.cli.settings import server_of, settings_of
from meshlite.cli.verbs.describe import complete_service

if TYPE_CHECKING:
    from meshlite.model.mesh import Snapshot
    from meshlite.model.workload import Workload
    from meshlite.translate.explain.story import Step, Story

F = TypeVar("F", bound=Callable[..., Any])

_ASKED = (
    click.argument("source", shell_complete=complete_service),
    click.argument("destination", shell_complete=complete_service),
    click.option("--path", default="", help="Path of the request, with its query.  [default: /]"),
    click.option("--method", default="GET", show_default=True, help="HTTP method."),
    click.option(
        "--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header; may be repeated."
    ),
    claim_option,
    click.option("--port", type=click.IntRange(1, 65535), default=None, help="Port, if there are several."),
    click.option("--tcp", is_flag=True, help="The connection does not speak HTTP."),
    click.option("-n", "--namespace", default="", help="Namespace of SOURCE, if its name is in several."),
    click.option(
        "--snapshot",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A saved answer of GET /v1/snapshot instead of the running mesh.",
    ),
)


def call_options(command: F) -> F:
    """Arguments and options of verbs that ask what becomes of a call: who calls, whom, and with what."""
    for option in reversed(_ASKED):
        command = option(command)
    return command


@click.command(short_help="What a request would meet on its way, and why.")
@call_options
@output_option
@click.pass_context
def explain(
    ctx: click.Context,
    source: str,
    destination: str,
    path: str,
    method: str,
    headers: tuple[str, ...],
    claims: tuple[str, ...],
    port: int | None,
    tcp: bool,
    namespace: str,
    snapshot: Path | None,
    output: Output,
) -> None:
    """Say which listener, route, cluster, endpoints and policies a request of SOURCE to DESTINATION would
    meet, which resource decides each, and which rules are passed over and why. No request is made.

    SOURCE is a service, service.namespace, a container's name, or ingressgateway for a client from outside;
    DESTINATION what it would call: a name, an address, or a URL.

    \b
    meshlite explain productpage reviews --header user=jason
    meshlite explain productpage http://reviews:9080/reviews/0
    meshlite explain ingressgateway https://bookinfo.example.com/productpage
    JSON: {"outcome", "steps": [{"step", "decision", "by", "why", "passed_over": [{"what", "why"}]}],
           "ends": [{"cluster", "share", "workload", "address", "port"}]}
    """
    from meshlite.translate.explain.explain import explain as run
    from meshlite.translate.explain.request import Request
    from meshlite.translate.explain.request import destination as parse

    settings = settings_of(ctx)
    mesh = read_mesh(ctx, snapshot)
    try:
        host, written, written_path = parse(destination)
        request = Request(
            host,
            port or written,
            path or written_path or "/",
            method.upper(),
            pairs(headers),
            http=not tcp,
            tls=destination.startswith("https://"),
            claims=claimed(claims),
        )
        story = run(mesh, find_source(mesh, source, namespace), request, settings.virtual_network)
    except ValueError as error:
        raise Failure(str(error), next_step="name the destination as host, host:port or URL") from error
    emit(asdict(story), output, lambda: _show(story))


def read_mesh(ctx: click.Context, file: Path | None) -> Snapshot:
    from pydantic import ValidationError

    from meshlite.model.mesh import Snapshot

    if file is None:
        return Snapshot.model_validate(server_of(settings_of(ctx)).get("/v1/snapshot", timeout=30.0))
    try:
        return Snapshot.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise Failure(f"{file} is no snapshot", why=str(error.errors()[0]["msg"])) from error


def pairs(given: Sequence[str]) -> dict[str, str]:
    """Headers as the option gives them."""
    headers = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not (name and sign):
            raise click.UsageError(f"--header {text}: write NAME=VALUE")
        headers[name.strip()] = value
    return headers


def find_source(mesh: Snapshot, name: str, namespace: str) -> Workload:
    """A workload by its name or id, the first replica of a service, or a gateway that nodes have."""
    from meshlite.model.called import called
    from meshlite.translate.explain.edge import gateway

    found = called(name, (one for one in mesh.workloads if namespace in ("", one.namespace)))
    spaces = sorted({one.namespace for one in found})
    if len(spaces) > 1:
        raise Failure(f"{name} is in several namespaces", why=", ".join(spaces), next_step="add -n NAMESPACE")
    nodes = [*(node.name for node in mesh.nodes), *(one.node for one in mesh.workloads), "this node"]
    if not found and (edge := gateway(name, nodes[0])) is not None:
        return edge
    if not found:
        known = ", ".join(sorted({one.service for one in mesh.workloads})[:12]) or "none"
        raise Failure(f"no workload is called {name}", why=f"the mesh has: {known}")
    return next((one for one in found if one.captured), found[0])


def _show(story: Story) -> None:
    width = max(len(step.step) for step in story.steps)
    for step in story.steps:
        _show_step(step, width)
    say()
    say(click.style(story.outcome, bold=True))
    for end in story.ends:
        say(f"  {end.workload} at {end.address}:{end.port}")


def _show_step(step: Step, width: int) -> None:
    by = f"  [{step.by}]" if step.by else ""
    say(f"{click.style(step.step.ljust(width), bold=True)}  {step.decision}{by}")
    if step.why:
        say(f"{'':{width}}  {click.style(step.why, fg=DIM)}")
    for passed in step.passed_over:
        say(f"{'':{width}}  not {passed.what}: {click.style(passed.why, fg=DIM)}")
