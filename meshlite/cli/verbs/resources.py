"""`meshlite apply`, `delete`, `validate`: resources from YAML files, by name, and offline."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from meshlite.cli.client import Client
from meshlite.cli.failure import Failure
from meshlite.cli.output import GOOD, WARN, F, Output, emit, note, output_option, say
from meshlite.cli.settings import places_of, server_of
from meshlite.cli.verbs.get import known_kinds
from meshlite.model.names import ROOT_NAMESPACE

if TYPE_CHECKING:
    from meshlite.model.documents import Reading

YAML_SUFFIXES = (".yaml", ".yml", ".json")

MOST_BYTES = 16 * 2**20


def file_option(required: bool) -> Callable[[F], F]:
    """`-f FILE|DIR|-`, any number of times."""
    return click.option(
        "-f",
        "--filename",
        "sources",
        multiple=True,
        required=required,
        type=click.Path(exists=True, allow_dash=True),
        help="YAML file, folder of them, or - for standard input; may be repeated.",
    )


namespace_option = click.option(
    "-n", "--namespace", default="", help="Namespace of documents that name none [default: the only project]."
)


@click.command(short_help="Create or change resources from YAML.")
@file_option(required=True)
@namespace_option
@click.option("--dry-run", is_flag=True, help="Let the server check everything and change nothing.")
@click.option("--allow-missing-hosts", is_flag=True, help="Accept hosts and subsets that do not exist (yet).")
@output_option
@click.pass_context
def apply(
    ctx: click.Context,
    sources: tuple[str, ...],
    namespace: str,
    dry_run: bool,
    allow_missing_hosts: bool,
    output: Output,
) -> None:
    """Create or change resources from YAML: all of them, or none if one is refused.

    \b
    meshlite apply -f canary.yaml
    JSON: {"applied": [{"key", "action": created|configured|unchanged, "generation", "warnings"}],
           "rejected": [{"resource", "where", "field", "reason"}], "warnings": [text]};
           one of applied and rejected is empty
    """
    server = server_of(places_of(ctx))
    body = _as_texts(sources, namespace) | {"dry_run": dry_run, "allow_missing_hosts": allow_missing_hosts}
    answer = server.call("POST", "/v1/resources", body, accept=(422,), timeout=60.0).body
    refuse(answer["rejected"], output=output)
    for warning in answer["warnings"]:
        note(f"warning: {warning}")
    if not answer["applied"]:
        names = ", ".join(text["name"] for text in body["texts"])
        note(f"there is no resource of the mesh in {names}; nothing was applied")
    emit(answer, output, lambda: show_applied(answer["applied"], dry_run))


@click.command(short_help="Delete resources by name or by file.")
@click.argument("kind", required=False)
@click.argument("name", required=False)
@file_option(required=False)
@namespace_option
@click.option("--ignore-missing", is_flag=True, help="It is fine if there is no such resource.")
@click.pass_context
def delete(
    ctx: click.Context,
    kind: str | None,
    name: str | None,
    sources: tuple[str, ...],
    namespace: str,
    ignore_missing: bool,
) -> None:
    """Delete resources: one by KIND and NAME, or all that files name.

    \b
    meshlite delete vs reviews
    meshlite delete -f canary.yaml
    """
    if bool(sources) == bool(kind and name) or (kind and not name):
        raise click.UsageError("name either KIND and NAME, or files with -f")
    server = server_of(places_of(ctx))
    missing = []
    for target in dict.fromkeys(_targets(server, kind, name, sources, namespace)):
        if server.call("DELETE", f"/v1/resources/{target}", accept=(404,)).status == 404:
            missing.append(target)
        else:
            say(f"{target} deleted")
    if missing and not ignore_missing:
        raise Failure(f"there is no {', '.join(missing)}", next_step="meshlite get all shows what there is")


@click.command(short_help="Check YAML without a mesh; nothing is applied.")
@file_option(required=True)
@namespace_option
@output_option
def validate(sources: tuple[str, ...], namespace: str, output: Output) -> None:
    """Check YAML as `apply` would, without a server: form, fields, types, and Istio's rules.

    A kind that this version only checks and does not enforce is valid here, with a warning; apply refuses it.

    Whether hosts and subsets exist is known to the server only: apply --dry-run checks that too.

    \b
    JSON: {"valid": bool, "resources": [key], "warnings": [text],
           "rejected": [{"resource", "where", "field", "reason"}]}
    """
    reading = read_texts(list(texts(sources)), namespace or "default")
    told = [rejection.model_dump() for rejection in (*reading.rejections, *_invalid(reading))]
    warnings = [*reading.warnings, *_warnings(reading)]
    value = {
        "valid": not told,
        "resources": [document.resource.key for document in reading.documents],
        "rejected": told,
        "warnings": warnings,
    }
    emit(value, output, lambda: _show_validated(value))
    refuse(told, "meshlite apply would refuse this")


def only_project(server: Client) -> str:
    """The namespace that is meant where none is named: the meshed project, if there is exactly one."""
    nodes = server.get("/v1/nodes")["nodes"]
    projects = sorted({project for node in nodes for project in node["record"]["projects"]})
    if len(projects) == 1:
        return str(projects[0])
    why = (
        f"several projects are in the mesh: {', '.join(projects)}"
        if projects
        else "no project is in the mesh"
    )
    raise Failure(
        "a document names no namespace",
        why=why,
        next_step="say which: -n NAMESPACE, or metadata.namespace in the file",
    )


def texts(sources: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(text, name for messages) of every source; folders give their YAML files in order of name."""
    for source in sources:
        if source == "-":
            yield _text(sys.stdin.buffer, "-"), "-"
            continue
        path = Path(source)
        files = sorted(p for p in path.iterdir() if p.suffix in YAML_SUFFIXES) if path.is_dir() else [path]
        if not files:
            raise Failure(
                f"nothing to read in {path}", why=f"no file there ends in {', '.join(YAML_SUFFIXES)}"
            )
        for file in files:
            try:
                with file.open("rb") as stream:
                    text = _text(stream, str(file))
            except OSError as error:
                raise Failure(
                    f"{file} cannot be read; nothing of {source} is taken",
                    why=_why(file, error),
                    next_step="correct or remove it, or name the files that are meant",
                ) from error
            yield text, str(file)


def _why(file: Path, error: OSError) -> str:
    if file.is_symlink() and not file.exists():
        return f"it is a link to {file.readlink()}, which does not exist"
    return error.strerror or str(error)


def _text(stream: BinaryIO, name: str) -> str:
    """A device or a pipe need not end, so no more is read than could be taken."""
    read = stream.read(MOST_BYTES + 1)
    if len(read) > MOST_BYTES:
        raise Failure(f"{name} is larger than {MOST_BYTES // 2**20} MiB", next_step="split the file")
    try:
        return read.decode()
    except UnicodeDecodeError as error:
        raise Failure(f"{name} is not text", why=str(error)) from error


def read_texts(given: Iterable[tuple[str, str]], namespace: str) -> Reading:
    from meshlite.model.documents import Reading, read

    readings = [read(text, file, namespace) for text, file in given]
    return Reading(
        tuple(document for reading in readings for document in reading.documents),
        tuple(rejection for reading in readings for rejection in reading.rejections),
        tuple(warning for reading in readings for warning in reading.warnings),
    )


def _as_texts(sources: Iterable[str], namespace: str) -> dict[str, Any]:
    """Files for the server to read: reading them here would take longer than all the rest."""
    given = [{"text": text, "name": name} for text, name in texts(sources)]
    return {"texts": given, "namespace": namespace}


def _invalid(reading: Reading) -> list[Any]:
    from meshlite.model.validate import validate as check

    return [found for document in reading.documents for found in check(document).rejections]


def _warnings(reading: Reading) -> list[str]:
    from meshlite.model.validate import validate as check

    return [warning for document in reading.documents for warning in check(document).warnings]


def refuse(
    rejected: Sequence[Mapping[str, str]], outcome: str = "nothing was applied", output: Output = "table"
) -> None:
    """End the verb with one line for each rejection: file:line: field: reason; for programs on stdout too."""
    if not rejected:
        return
    emit({"applied": [], "rejected": rejected, "warnings": []}, output, lambda: None)
    for row in rejected:
        parts = (row["where"], row["resource"], row["field"], row["reason"])
        note(": ".join(part for part in parts if part))
    count = "1 error" if len(rejected) == 1 else f"{len(rejected)} errors"
    raise Failure(f"{count}; {outcome}", next_step="correct the lines above and run the command again")


def _targets(
    server: Client, kind: str | None, name: str | None, sources: tuple[str, ...], namespace: str
) -> list[str]:
    """Keys (kind/namespace/name) to delete; files last to first, so that users go before what they use."""
    if kind and name:
        return [_named(server, kind, name, namespace)]
    reading = server.call("POST", "/v1/documents", _as_texts(sources, namespace), timeout=60.0).body
    refuse(reading["rejected"], "nothing was deleted")
    return list(reversed(reading["keys"]))


def _named(server: Client, kind: str, name: str, namespace: str) -> str:
    """The key meant; where two kinds go by one name, that of the resource which is there."""
    known = known_kinds(server, kind)
    place = ROOT_NAMESPACE if known[0]["cluster_wide"] else namespace or only_project(server)
    keys = [f"{one['key']}/{place}/{name}" for one in known]
    if len(keys) == 1:
        return keys[0]
    there = [key for key in keys if server.call("GET", f"/v1/resources/{key}", accept=(404,)).status != 404]
    if len(there) > 1:
        words = " or ".join(one["words"][-1] for one in known)
        raise Failure(
            f"there are {len(there)} of that name", why=", ".join(there), next_step=f"write {words}"
        )
    return (there or keys)[0]


def show_applied(applied: list[dict[str, Any]], dry_run: bool) -> None:
    for row in applied:
        suffix = " (dry run)" if dry_run else ""
        colour = None if row["action"] == "unchanged" else GOOD
        say(f"{row['key']} {click.style(row['action'], fg=colour)}{suffix}")
        for warning in row["warnings"]:
            note(click.style(f"warning: {row['key']}: {warning}", fg=WARN))


def _show_validated(value: dict[str, Any]) -> None:
    for warning in value["warnings"]:
        note(click.style(f"warning: {warning}", fg=WARN))
    if value["valid"]:
        say(f"{len(value['resources'])} valid: {', '.join(value['resources']) or 'no resource of the mesh'}")
