"""`meshlite analyze`: what is wrong with resources together, in files or in the running mesh."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from meshlite.cli.failure import Failure
from meshlite.cli.output import BAD, DIM, GOOD, WARN, Output, emit, output_option, say
from meshlite.cli.settings import places_of, server_of
from meshlite.cli.verbs.resources import file_option, namespace_option, read_texts, texts

if TYPE_CHECKING:
    from meshlite.model.documents import Reading

COLOURS = {"Error": BAD, "Warning": WARN, "Info": DIM}


@click.command(short_help="Find conflicts and dangling references, in files or in the mesh.")
@file_option(required=False)
@namespace_option
@click.option("--mesh", "over_mesh", is_flag=True, help="Judge the files as if applied to the running mesh.")
@click.option("--complete", is_flag=True, help="The files are all there is: tell what they refer to in vain.")
@output_option
@click.pass_context
def analyze(
    ctx: click.Context,
    sources: tuple[str, ...],
    namespace: str,
    over_mesh: bool,
    complete: bool,
    output: Output,
) -> None:
    """Find what is wrong with resources together: Istio's analysis with Istio's codes.

    Without files it is about the running mesh. Files are judged by themselves, without a server; what they
    refer to may then be elsewhere, unless there are Services, Pods or Deployments among them, or --complete.

    \b
    meshlite analyze
    meshlite analyze -f rules/ -o json
    meshlite analyze -f canary.yaml --mesh
    JSON: {"messages": [{"code", "name", "level": Error|Warning|Info, "resource", "where", "field",
                         "message"}]}
    """
    if not sources and (over_mesh or complete):
        raise click.UsageError("--mesh and --complete are about files: name them with -f")
    if over_mesh and complete:
        raise click.UsageError("with --mesh the mesh is all there is: leave out --complete")
    if not sources:
        messages = server_of(places_of(ctx)).get("/v1/analysis", timeout=60.0)["messages"]
    else:
        given = list(texts(sources))
        reading = read_texts(given, namespace or "default")
        found = (
            _over_mesh(ctx, reading) if over_mesh else _alone(reading, [text for text, _ in given], complete)
        )
        messages = [*_unread(reading), *found]
    emit({"messages": messages}, output, lambda: _show(messages))
    errors = sum(message["level"] == "Error" for message in messages)
    if errors:
        raise Failure("1 error found" if errors == 1 else f"{errors} errors found")


def _over_mesh(ctx: click.Context, reading: Reading) -> list[dict[str, Any]]:
    documents = [document.model_dump(mode="json") for document in reading.documents]
    answer = server_of(places_of(ctx)).call("POST", "/v1/analysis", {"documents": documents}, timeout=60.0)
    messages: list[dict[str, Any]] = answer.body["messages"]
    return messages


def _alone(reading: Reading, given: Sequence[str], complete: bool) -> list[dict[str, Any]]:
    from meshlite.model.analysis.analyze import analyze as run
    from meshlite.model.analysis.kubernetes import world
    from meshlite.model.analysis.stage import of_files

    scene = of_files(reading.documents, world(given, "default", time.time()), complete)
    return [message.model_dump() for message in run(scene)]


def _unread(reading: Reading) -> list[dict[str, Any]]:
    """Documents that are no resources at all."""
    from meshlite.model.analysis.analyze import unread

    return [unread(rejection).model_dump() for rejection in reading.rejections]


def _show(messages: Sequence[dict[str, Any]]) -> None:
    for message in messages:
        level = click.style(message["level"], fg=COLOURS[message["level"]])
        place = ": ".join(part for part in (message["where"], message["resource"], message["field"]) if part)
        say(f"{level} [{message['code']}] {place}: {message['message']}")
    if not messages:
        say(click.style("nothing found", fg=GOOD))
