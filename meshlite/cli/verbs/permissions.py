"""`meshlite allow`, `deny`, `mtls`, `policies`: who may call whom in a line, as ordinary resources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from meshlite.cli.client import Client
from meshlite.cli.failure import Failure
from meshlite.cli.output import DIM, Output, columns, emit, note, output_option, paint, plain
from meshlite.cli.settings import server_of, settings_of
from meshlite.cli.verbs.describe import MODES, choose, complete_service
from meshlite.cli.verbs.shorthands import Asked, write

if TYPE_CHECKING:
    from meshlite.model.mesh import Resource, Snapshot
    from meshlite.model.permission import Action, Calls, Guarded
    from meshlite.model.shorthand import Change
    from meshlite.model.workload import Workload


@dataclass(frozen=True)
class Options:
    """What `allow` and `deny` are told about calls, and how to go about it."""

    calls: Calls
    namespace: str
    clear: bool
    dry_run: bool
    output: Output


def _permission(command: Callable[..., None]) -> Callable[..., None]:
    """The options of `allow` and `deny`; the command gets the context, both ends, Options and its own."""

    @click.pass_context
    def run(
        ctx: click.Context,
        /,
        source: str,
        destination: str,
        methods: tuple[str, ...],
        paths: tuple[str, ...],
        ports: tuple[int, ...],
        namespace: str,
        clear: bool,
        dry_run: bool,
        output: Output,
        **more: Any,
    ) -> None:
        from meshlite.model.permission import Calls

        calls = Calls(
            tuple(one.upper() for one in _split(methods)), _split(paths), tuple(str(one) for one in ports)
        )
        command(ctx, source, destination, Options(calls, namespace, clear, dry_run, output), **more)

    options: Sequence[Callable[[Callable[..., None]], Callable[..., None]]] = (
        click.argument("source", required=False, default="", shell_complete=complete_service),
        click.argument("destination", required=False, default="", shell_complete=complete_service),
        click.option("--methods", multiple=True, metavar="LIST", help="Only these methods, e.g. GET,HEAD."),
        click.option("--paths", multiple=True, metavar="LIST", help="Only these paths, e.g. /api/*,/health."),
        click.option("--port", "ports", multiple=True, type=click.IntRange(1, 65535), help="Only this port."),
        click.option("-n", "--namespace", default="", help="Namespace of DESTINATION."),
        click.option("--clear", "--undo", "clear", is_flag=True, help="Take it back."),
        click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing."),
        output_option,
    )
    made = cast(Callable[..., None], update_wrapper(run, command))
    for option in reversed(options):
        made = option(made)
    return made


@click.command(short_help="Let a service call another, and those that are not named no more.")
@_permission
def allow(ctx: click.Context, source: str, destination: str, options: Options) -> None:
    """Let SOURCE call DESTINATION. With the first such rule nobody else may call it any more, but for those
    that other ALLOW policies name.

    SOURCE is a service, NAMESPACE/* for all of a namespace, '*' for anybody of the mesh, or ingressgateway.
    The AuthorizationPolicy that this stands for is written, and named; -o yaml prints it.

    \b
    meshlite allow productpage reviews
    meshlite allow web api --methods GET,HEAD --paths '/v1/*'
    meshlite allow 'shop/*' ratings.shop --dry-run -o yaml
    meshlite allow web api --clear
    JSON: {"applied": [{"key", "action", …}], "deleted": [key], "resources": [the manifests]}
    """
    if not (source and destination):
        raise click.UsageError("give SOURCE and DESTINATION")
    _ruled(ctx, "ALLOW", source, destination, options)


@click.command(short_help="Forbid a service to call another; or --all calls in a namespace.")
@_permission
@click.option("--all", "everybody", is_flag=True, help="Whatever no ALLOW policy allows, in the namespace.")
def deny(ctx: click.Context, source: str, destination: str, options: Options, everybody: bool) -> None:
    """Forbid SOURCE to call DESTINATION; it is asked before any ALLOW policy. With --all, and no SOURCE,
    calls to anything in the namespace are denied unless a policy allows them.

    SOURCE is a service, NAMESPACE/* for all of a namespace, '*' for anybody of the mesh, or ingressgateway.
    The AuthorizationPolicy that this stands for is written, and named; -o yaml prints it.

    \b
    meshlite deny web db
    meshlite deny '*' api --methods DELETE --paths '/admin*'
    meshlite deny --all -n shop
    meshlite deny --all -n shop --clear
    JSON: {"applied": [{"key", "action", …}], "deleted": [key], "resources": [the manifests]}
    """
    if not everybody:
        if not (source and destination):
            raise click.UsageError("give SOURCE and DESTINATION, or --all -n NAMESPACE")
        _ruled(ctx, "DENY", source, destination, options)
        return
    if source or not options.calls.all:
        raise click.UsageError("--all denies all calls: leave SOURCE, --methods, --paths and --port out")
    if not options.namespace:
        raise click.UsageError("--all needs -n NAMESPACE; meshlite-system is for the whole mesh")
    from meshlite.model.names import canonical_namespace
    from meshlite.model.permission import closed, opened

    namespace = canonical_namespace(options.namespace)
    server = server_of(settings_of(ctx))
    change = opened if options.clear else closed
    _write(server, namespace, options, lambda resources: change(namespace, resources))


def _ruled(ctx: click.Context, action: Action, source: str, destination: str, options: Options) -> None:
    from meshlite.model.permission import granted, withdrawn

    server = server_of(settings_of(ctx))
    mesh = _mesh(server)
    guarded, _ = find_guarded(server, mesh, destination, options.namespace)
    callers = _callers(mesh, source, guarded.namespace)
    change = withdrawn if options.clear else granted

    def decide(resources: Sequence[Resource]) -> Change:
        return change(guarded, action, callers, options.calls, resources)

    made = _write(server, guarded.name, options, decide)
    if action == "ALLOW" and made.delete:
        note(f"allow says nothing of {guarded.name} any more; what does: meshlite policies {guarded.name}")
    elif action == "ALLOW" and not options.clear:
        note(f"whom no ALLOW policy names is denied at {guarded.name}: meshlite policies {guarded.name}")


def _write(
    server: Client,
    name: str,
    options: Options,
    decide: Callable[[Sequence[Resource]], Change],
) -> Change:
    from meshlite.model.mesh import Resource
    from meshlite.model.shorthand import NotOurs

    rows = server.get("/v1/resources")["resources"]
    try:
        made = decide([Resource.model_validate(row) for row in rows])
    except NotOurs as error:
        kind, space, taken = error.key.split("/", 2)
        raise Failure(
            f"{kind} {space}/{taken} was written by hand",
            why="shorthands change nothing that somebody else wrote",
            next_step=f"change it by hand, or delete it first: meshlite delete {kind} {taken} -n {space}",
        ) from error
    write(Asked(server, {"name": name}, (), "", options.clear, options.dry_run, options.output), made)
    return made


def _split(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in given for part in text.split(",") if part.strip())


def _mesh(server: Client) -> Snapshot:
    from meshlite.model.mesh import Snapshot

    return Snapshot.model_validate(server.get("/v1/snapshot", timeout=30.0))


def find_guarded(
    server: Client, mesh: Snapshot, name: str, namespace: str
) -> tuple[Guarded, tuple[Workload, ...]]:
    """The service by any of its names, with its replicas. Failure where no label tells these from others."""
    from meshlite.model.permission import Guarded, chosen_by

    row = choose(server.get("/v1/services", namespace=namespace)["services"], name)
    replicas = mesh.workloads_by_service.get(row["fqdn"], ())
    neighbours = [
        one for one in mesh.workloads if one.namespace == row["namespace"] and one.service != row["name"]
    ]
    labels = chosen_by(row["name"], replicas, neighbours)
    if labels is None:
        raise Failure(
            f"no label tells the replicas of {row['name']} from others",
            why="policies choose workloads by labels, and these share theirs, or differ among themselves",
            next_step="give them a label app of their own, or write the policy with a selector that fits",
        )
    return Guarded(row["name"], row["namespace"], labels), replicas


def _callers(mesh: Snapshot, name: str, near: str) -> dict[str, list[str]]:
    """What a rule's `source` says. `near`: where a name that is in several namespaces is looked for first."""
    from meshlite.cli.verbs.explain import find_source
    from meshlite.model.names import canonical_namespace
    from meshlite.model.permission import principals

    if name == "*":
        return {"principals": ["*"]}
    if name.endswith("/*"):
        return {"namespaces": [canonical_namespace(name.removesuffix("/*"))]}
    here = any(one.namespace == near and one.service == name for one in mesh.workloads)
    try:
        found = find_source(mesh, name, near if here else "")
    except Failure as failure:
        raise Failure(failure.message, why=failure.why, next_step="name it SERVICE.NAMESPACE") from failure
    alike = [one for one in mesh.workloads if one.service_fqdn == found.service_fqdn]
    return principals(alike or [found])


@click.command(short_help="Let only the mesh in (strict), or everybody (permissive).")
@click.argument("mode", type=click.Choice(["strict", "permissive", "unset"]))
@click.argument("service", required=False, default="", shell_complete=complete_service)
@click.option("-n", "--namespace", default="", help="Only this namespace; else the whole mesh.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@output_option
@click.pass_context
def mtls(ctx: click.Context, mode: str, service: str, namespace: str, dry_run: bool, output: Output) -> None:
    """Say for the mesh, a namespace or a SERVICE whether who is not of the mesh gets in. `unset` takes it
    back: then what was said for the namespace or the mesh counts, and in the end `permissive`.

    The PeerAuthentication that this stands for is written, and named; -o yaml prints it.

    \b
    meshlite mtls strict
    meshlite mtls permissive -n legacy
    meshlite mtls strict reviews -n shop
    meshlite mtls unset reviews
    JSON: {"applied": [{"key", "action", …}], "deleted": [key], "resources": [the manifests]}
    """
    from meshlite.model.mtls_mode import Mode, set_mode
    from meshlite.model.names import ROOT_NAMESPACE, canonical_namespace
    from meshlite.model.permission import Calls

    server = server_of(settings_of(ctx))
    space, labels = canonical_namespace(namespace) or ROOT_NAMESPACE, {}
    if service:
        guarded, _ = find_guarded(server, _mesh(server), service, namespace)
        service, space, labels = guarded.name, guarded.namespace, dict(guarded.labels)
    options = Options(Calls(), namespace, mode == "unset", dry_run, output)
    wanted = cast(Mode, mode.upper())
    name = service or space
    _write(server, name, options, lambda resources: set_mode(space, service, labels, wanted, resources))


@click.command(short_help="Which policies hold for a service, in the order they are asked.")
@click.argument("service", shell_complete=complete_service)
@click.option("-n", "--namespace", default="", help="Namespace, if the name is in several.")
@output_option
@click.pass_context
def policies(ctx: click.Context, service: str, namespace: str, output: Output) -> None:
    """List what stands between callers and a SERVICE, in the order in which a call meets it: who may connect,
    asked providers, tokens, audits, denials, permissions. Policies that are only tried out come last.

    \b
    meshlite policies reviews
    JSON: [{"step", "resource", "says", "replicas": [name], "trial": bool}]; replicas: those it is for
    """
    from dataclasses import asdict

    from meshlite.translate.explain.standing import standing

    server = server_of(settings_of(ctx))
    mesh = _mesh(server)
    row = choose(server.get("/v1/services", namespace=namespace)["services"], service)
    replicas = mesh.workloads_by_service.get(row["fqdn"], ())
    found = [{**asdict(one), "replicas": list(one.replicas)} for one in standing(mesh, replicas)]
    emit(found, output, lambda: _show(found, row, len(replicas)))


def _show(found: list[dict[str, Any]], service: dict[str, Any], replicas: int) -> None:
    mode: Literal["STRICT", "PERMISSIVE", "mixed"] = service["mode"]
    head = click.style(f"{service['name']} in {service['namespace']}", bold=True)
    click.echo(f"{head}  {mode}: {MODES[mode]}")
    if not found:
        click.echo(click.style("no policy is for it: whoever gets in may do anything", fg=DIM))
        return
    rows = []
    for one in found:
        part = "" if len(one["replicas"]) == replicas else f"only {', '.join(one['replicas'])}"
        said = f"{one['says']} (tried out only)" if one["trial"] else one["says"]
        rows.append((plain(one["step"]), plain(one["resource"]), plain(said), paint(part, DIM)))
    columns(("ASKED", "POLICY", "SAYS", "FOR"), rows)
