"""`meshlite route`, `fault`, `mirror`, `timeout`, `retry`: common rules in a line, as ordinary resources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, cast

import click

from meshlite.cli.client import Client
from meshlite.cli.failure import Failure
from meshlite.cli.output import Output, emit, note, output_option, say
from meshlite.cli.settings import places_of, server_of
from meshlite.cli.verbs.describe import choose, complete_service
from meshlite.cli.verbs.get import manifest, print_documents
from meshlite.cli.verbs.resources import refuse, show_applied

if TYPE_CHECKING:
    from meshlite.model.shorthand import Change, Edit, Requests, Target


@dataclass(frozen=True)
class Asked:
    """What every shorthand is told: of which service, which requests, and how to go about it."""

    server: Client
    service: dict[str, Any]
    headers: tuple[str, ...]
    path: str
    clear: bool
    dry_run: bool
    output: Output

    @property
    def target(self) -> Target:
        from meshlite.model.shorthand import Target

        declared = tuple(self.service.get("declared_by", ()))
        return Target(self.service["name"], self.service["namespace"], declared)

    @property
    def requests(self) -> Requests:
        from meshlite.model.shorthand import Requests

        return Requests(
            tuple(sorted(_pair(text, "--header", "NAME=VALUE") for text in self.headers)), self.path
        )

    @property
    def versions(self) -> tuple[str, ...]:
        found = {endpoint["version"] for endpoint in self.service["endpoints"]}
        return tuple(sorted(found - {""}))


def shorthand(command: Callable[..., None]) -> Callable[..., None]:
    """The options of all shorthands before its own; the command gets an Asked and those."""

    @click.pass_context
    def run(
        ctx: click.Context,
        /,
        service: str,
        namespace: str,
        headers: tuple[str, ...],
        path: str,
        clear: bool,
        dry_run: bool,
        output: Output,
        **more: Any,
    ) -> None:
        server = server_of(places_of(ctx))
        chosen = choose(server.get("/v1/services", namespace=namespace)["services"], service)
        if chosen["name"].startswith("*"):
            raise Failure(f"{chosen['name']} is many hosts", next_step="write a VirtualService for it")
        command(Asked(server, chosen, headers, path, clear, dry_run, output), **more)

    options: Sequence[Callable[[Callable[..., None]], Callable[..., None]]] = (
        click.argument("service", shell_complete=complete_service),
        click.option("-n", "--namespace", default="", help="Namespace, if the name is in several."),
        click.option(
            "--header", "headers", multiple=True, metavar="NAME=VALUE", help="Only requests with this header."
        ),
        click.option("--path", default="", metavar="PREFIX", help="Only requests whose path starts so."),
        click.option("--clear", "--undo", "clear", is_flag=True, help="Take it back."),
        click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing."),
        output_option,
    )
    made = cast(Callable[..., None], update_wrapper(run, command))
    for option in reversed(options):
        made = option(made)
    return made


@click.command(short_help="Send a service's requests to versions of it.")
@shorthand
@click.option("--to", "shares", multiple=True, metavar="VERSION[=PERCENT]", help="Where to; may be repeated.")
def route(asked: Asked, shares: tuple[str, ...]) -> None:
    """Send a SERVICE's requests to versions of it: all by shares, or those with a header or path.

    Versions are values of the label `version`. The VirtualService and DestinationRule that this stands for
    are written, and named; -o yaml prints them. Rules by hand for the same service are never touched.

    \b
    meshlite route reviews --to v1=90 --to v2=10
    meshlite route reviews --header user=jason --to v2
    meshlite route reviews --to v1=50 --to v2=50 --dry-run -o yaml
    meshlite route reviews --clear
    JSON: {"applied": [{"key", "action", …}], "deleted": [key], "resources": [the manifests]}
    """
    from meshlite.model.shorthand import split, unrouted

    _one_of(asked.clear, bool(shares), "--to VERSION=PERCENT")
    if asked.clear:
        _do(asked, unrouted(asked.target), forget=True)
    else:
        _do(asked, split(asked.target, _shares(shares, asked)))


@click.command(short_help="Delay or abort a part of a service's requests.")
@shorthand
@click.option("--delay", default="", metavar="DURATION", help="Hold requests, e.g. 5s.")
@click.option("--abort", default=0, metavar="STATUS", help="Answer with this HTTP status.")
@click.option("--percent", type=click.FloatRange(0, 100), default=100.0, show_default=True, help="How many.")
def fault(asked: Asked, delay: str, abort: int, percent: float) -> None:
    """Delay or abort requests to a SERVICE, to see how its callers bear it.

    \b
    meshlite fault ratings --delay 7s --percent 10
    meshlite fault ratings --abort 503 --header user=jason
    meshlite fault ratings --clear
    JSON: {"applied": [{"key", "action", …}], "deleted": [key], "resources": [the manifests]}
    """
    from meshlite.model.shorthand import merged, without

    _one_of(asked.clear, bool(delay or abort), "--delay DURATION or --abort STATUS")
    share = {"percentage": {"value": percent}}
    faults: dict[str, object] = {}
    if delay:
        faults["delay"] = {"fixedDelay": delay, **share}
    if abort:
        faults["abort"] = {"httpStatus": abort, **share}
    _do(asked, without("fault") if asked.clear else merged("fault", faults))


@click.command(short_help="Send a copy of a service's requests to a version.")
@shorthand
@click.option("--to", "version", default="", metavar="VERSION", help="Which version gets the copies.")
@click.option("--percent", type=click.FloatRange(0, 100), default=100.0, show_default=True, help="How many.")
def mirror(asked: Asked, version: str, percent: float) -> None:
    """Send copies of a SERVICE's requests to one of its versions, whose answers nobody sees.

    \b
    meshlite mirror reviews --to v3 --percent 20
    meshlite mirror reviews --clear
    JSON: {"applied": [{"key", "action", …}], "deleted": [key], "resources": [the manifests]}
    """
    from meshlite.model.shorthand import put, without

    _one_of(asked.clear, bool(version), "--to VERSION")
    if asked.clear:
        _do(asked, without("mirrors"))
        return
    _known(version, asked)
    copies = {"destination": asked.target.destination(version), "percentage": {"value": percent}}
    _do(asked, put("mirrors", [copies]))


@click.command(short_help="Limit how long a service's requests may take.")
@shorthand
@click.argument("duration", required=False, default="")
def timeout(asked: Asked, duration: str) -> None:
    """Answer 504 for requests to a SERVICE that take longer than DURATION, tries and all.

    \b
    meshlite timeout reviews 500ms
    meshlite timeout reviews --clear
    JSON: {"applied": [{"key", "action", …}], "deleted": [key], "resources": [the manifests]}
    """
    from meshlite.model.shorthand import put, without

    _one_of(asked.clear, bool(duration), "a DURATION, e.g. 5s")
    _do(asked, without("timeout") if asked.clear else put("timeout", duration))


@click.command(short_help="Say how often failed requests to a service are tried again.")
@shorthand
@click.argument("attempts", required=False, type=click.IntRange(0, 100))
@click.option("--per-try-timeout", default="", metavar="DURATION", help="How long each try may take.")
@click.option("--on", "conditions", default="", metavar="LIST", help="After what, e.g. 5xx,reset.")
def retry(asked: Asked, attempts: int | None, per_try_timeout: str, conditions: str) -> None:
    """Try failed requests to a SERVICE again, ATTEMPTS times; 0: never. Without this it is twice.

    \b
    meshlite retry ratings 3 --per-try-timeout 2s --on 5xx,reset
    meshlite retry ratings --clear
    JSON: {"applied": [{"key", "action", …}], "deleted": [key], "resources": [the manifests]}
    """
    from meshlite.model.shorthand import put, without

    _one_of(asked.clear, attempts is not None, "ATTEMPTS, e.g. 3")
    said = {"attempts": attempts, "perTryTimeout": per_try_timeout, "retryOn": conditions}
    retries = {name: value for name, value in said.items() if value not in ("", None)}
    _do(asked, without("retries") if asked.clear else put("retries", retries))


def _one_of(clear: bool, given: bool, what: str) -> None:
    if clear and given:
        raise click.UsageError(f"--clear takes back: leave out {what}")
    if not (clear or given):
        raise click.UsageError(f"give {what}, or --clear")


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise click.UsageError(f"{option} {text}: write {form}")
    return name.strip(), value


def _shares(given: Sequence[str], asked: Asked) -> dict[str, int]:
    """Version -> percent; a single version needs no share."""
    if len(given) == 1 and "=" not in given[0]:
        _known(given[0], asked)
        return {given[0]: 100}
    shares: dict[str, int] = {}
    for text in given:
        version, percent = _pair(text, "--to", "VERSION=PERCENT")
        if version in shares or not (percent.isascii() and percent.isdigit()):
            raise click.UsageError(f"--to {text}: write each version once, with a whole number of percent")
        _known(version, asked)
        shares[version] = int(percent)
    if sum(shares.values()) != 100:
        raise click.UsageError(f"the shares sum to {sum(shares.values())} percent, not to 100")
    return shares


def _known(version: str, asked: Asked) -> None:
    if version not in asked.versions:
        name = asked.service["name"]
        known = ", ".join(asked.versions)
        why = f"its versions are {known}" if known else "none of its replicas has a version"
        hint = "a replica's version is its label meshlite.version, or version"
        raise Failure(f"{name} has no version {version}", why=why, next_step=hint)


def _do(asked: Asked, edit: Edit, forget: bool = False) -> None:
    """Write what the shorthand stands for, and say so."""
    from meshlite.model.mesh import Resource
    from meshlite.model.shorthand import NotOurs, change

    rows = asked.server.get("/v1/resources")["resources"]
    services = asked.server.get("/v1/services")["services"]
    try:
        made = change(
            asked.target,
            [Resource.model_validate(row) for row in rows],
            [service["fqdn"] for service in services],
            asked.versions,
            asked.requests,
            edit,
            forget,
            clear=asked.clear,
        )
    except NotOurs as error:
        raise _by_hand(asked, error.key) from error
    write(asked, made)


def write(asked: Asked, made: Change) -> None:
    """Apply and delete what was decided, or say with a dry run what would be; print it."""
    applied = _applied(asked, made)
    _deleted(asked, made)
    manifests = [_manifest(resource.model_dump(mode="json")) for resource in made.apply]
    if asked.output == "yaml":
        print_documents(manifests)
        for key in made.delete:
            note(f"{key} deleted{_suffix(asked)}")
        return
    value = {"applied": applied, "deleted": list(made.delete), "resources": manifests}
    emit(value, asked.output, lambda: _show(asked, applied, made))


def _by_hand(asked: Asked, key: str) -> Failure:
    kind, namespace, name = key.split("/", 2)
    return Failure(
        f"{kind} {namespace}/{name} already routes {asked.service['name']}",
        why="it is not this shorthand's, and only one can hold for a service",
        next_step=f"change it by hand, or delete it first: meshlite delete {kind} {name} -n {namespace}",
    )


def _applied(asked: Asked, made: Change) -> list[dict[str, Any]]:
    from meshlite.model.validate import validate
    from meshlite.model.wire import Document

    documents = [Document(resource=resource) for resource in made.apply]
    refuse([f.model_dump() for one in documents for f in validate(one, to_apply=True).rejections])
    if not documents:
        return []
    body = {"documents": [d.model_dump(mode="json") for d in documents], "dry_run": asked.dry_run}
    answer = asked.server.call("POST", "/v1/resources", body, accept=(422,))
    refuse(answer.body["rejected"])
    applied: list[dict[str, Any]] = answer.body["applied"]
    return applied


def _deleted(asked: Asked, made: Change) -> None:
    for key in made.delete if not asked.dry_run else ():
        asked.server.call("DELETE", f"/v1/resources/{key}", accept=(404,))


def _manifest(resource: dict[str, Any]) -> dict[str, Any]:
    found = manifest(resource)
    del found["metadata"]["generation"]
    return found


def _show(asked: Asked, applied: list[dict[str, Any]], made: Change) -> None:
    show_applied(applied, asked.dry_run)
    for key in made.delete:
        say(f"{key} deleted{_suffix(asked)}")
    if not (applied or made.delete):
        say("nothing to change")


def _suffix(asked: Asked) -> str:
    return " (dry run)" if asked.dry_run else ""
