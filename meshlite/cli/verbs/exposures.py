"""`meshlite expose` and `egress`: ways into the mesh and out of it in a line, as ordinary resources."""

from __future__ import annotations

from typing import Any, cast

import click

from meshlite.cli.failure import Failure
from meshlite.cli.output import Output, output_option
from meshlite.cli.settings import places_of, server_of
from meshlite.cli.verbs.describe import choose, complete_service
from meshlite.cli.verbs.shorthands import Asked, write

_HTTP = ("http", "http2", "grpc", "grpc-web", "auto")


@click.command(short_help="Open a port of this mesh's hosts for a service.")
@click.argument("service", shell_complete=complete_service)
@click.option("-n", "--namespace", default="", help="Namespace, if the name is in several.")
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="For this host only; may be repeated.")
@click.option("--port", type=click.IntRange(1, 65535), help="To open; else 80, or 443 with a credential.")
@click.option("--service-port", type=click.IntRange(1, 65535), help="The service's, if it has several.")
@click.option("--path", default="", metavar="PREFIX", help="Only requests whose path starts so.")
@click.option("--tls-credential", "credential", default="", metavar="NAME", help="Certificate to serve.")
@click.option("--redirect", is_flag=True, help="Send plain http on port 80 to https.")
@click.option("--clear", "--undo", "clear", is_flag=True, help="Take it back.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@output_option
@click.pass_context
def expose(
    ctx: click.Context, /, service: str, namespace: str, clear: bool, dry_run: bool, **more: Any
) -> None:
    """Let clients outside the mesh call a SERVICE at the node's ingress gateway.

    The Gateway and VirtualService that this stands for are written, and named; -o yaml prints them.
    Certificates are files on the nodes: see gateways.md.

    \b
    meshlite expose productpage
    meshlite expose productpage --host shop.example.com --tls-credential shop --redirect
    meshlite expose db --port 5432
    meshlite expose productpage --clear
    JSON: {"applied": [{"key", "action", …}], "deleted": [key], "resources": [the manifests]}
    """
    from meshlite.model.exposure import Exposure

    server = server_of(places_of(ctx))
    chosen = choose(server.get("/v1/services", namespace=namespace)["services"], service)
    asked = Asked(server, chosen, (), more["path"], clear, dry_run, cast(Output, more["output"]))
    if more["redirect"] and not more["credential"]:
        raise click.UsageError("--redirect leads to https: give --tls-credential NAME, too")
    if clear:
        _write(asked, Exposure(asked.target).name, asked.target.namespace)
        return
    number, tcp = _port(chosen, more["service_port"])
    if tcp and more["path"]:
        raise click.UsageError("--path is for HTTP: the service's port speaks something else")
    made = Exposure(
        asked.target,
        tuple(more["hosts"]) or ("*",),
        more["port"] or (443 if more["credential"] else number if tcp else 80),
        number,
        more["credential"],
        more["path"],
        more["redirect"],
        tcp,
    )
    _write(asked, made.name, asked.target.namespace, made.resources())


def _port(service: dict[str, Any], wanted: int | None) -> tuple[int, bool]:
    """The service's port to call, and whether it does not speak HTTP."""
    ports = {port["number"]: port["protocol"] for port in service["ports"] if port["protocol"] != "udp"}
    known = ", ".join(f"{number} ({protocol})" for number, protocol in sorted(ports.items()))
    if wanted and wanted not in ports:
        raise Failure(f"{service['name']} has no port {wanted}", why=f"its ports are {known or 'unknown'}")
    if not wanted and len(ports) != 1:
        web = [number for number, protocol in sorted(ports.items()) if protocol in _HTTP]
        if len(web) != 1:
            why = f"its ports are {known}" if known else "no port of it is known"
            raise Failure(f"which port of {service['name']}?", why=why, next_step="give --service-port")
        wanted = web[0]
    number = wanted or next(iter(ports))
    return number, ports[number] not in _HTTP


@click.command(short_help="Send calls to an outside host through the egress gateway.")
@click.argument("host")
@click.option("--http", is_flag=True, help="Applications speak plain HTTP to it, on port 80.")
@click.option("--originate-tls", is_flag=True, help="They speak plain HTTP, and the gateway makes TLS of it.")
@click.option("--port", type=click.IntRange(1, 65535), help="That they dial, if not 443 or 80.")
@click.option("--clear", "--undo", "clear", is_flag=True, help="Take it back.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@output_option
@click.pass_context
def egress(
    ctx: click.Context,
    host: str,
    http: bool,
    originate_tls: bool,
    port: int | None,
    clear: bool,
    dry_run: bool,
    output: Output,
) -> None:
    """Let the mesh call an outside HOST through the node's egress gateway, where rules can hold for it.

    By default TLS goes through as it is. The resources that this stands for are those of Istio's tasks for
    egress gateways. They are written to the root namespace, for the whole mesh, and named; -o yaml prints
    them.

    \b
    meshlite egress api.example.com
    meshlite egress api.example.com --originate-tls --dry-run -o yaml
    meshlite egress api.example.com --clear
    JSON: {"applied": [{"key", "action", …}], "deleted": [key], "resources": [the manifests]}
    """
    from meshlite.model.exposure import Egress
    from meshlite.model.names import ROOT_NAMESPACE

    if http and originate_tls:
        raise click.UsageError("--http and --originate-tls exclude each other")
    asked = Asked(server_of(places_of(ctx)), {"name": host}, (), "", clear, dry_run, output)
    made = Egress(host.lower(), "originate" if originate_tls else "http" if http else "https", port or 0)
    _write(asked, made.name, ROOT_NAMESPACE, () if clear else made.resources())


def _write(asked: Asked, name: str, namespace: str, wanted: tuple[Any, ...] = ()) -> None:
    """Write these resources and no others of the name; without any, take all back."""
    from meshlite.model.exposure import change
    from meshlite.model.mesh import Resource
    from meshlite.model.shorthand import NotOurs

    rows = asked.server.get("/v1/resources")["resources"]
    try:
        made = change(name, namespace, wanted, [Resource.model_validate(row) for row in rows])
    except NotOurs as error:
        kind, space, taken = error.key.split("/", 2)
        raise Failure(
            f"{kind} {space}/{taken} was written by hand",
            why="shorthands change nothing that somebody else wrote",
            next_step=f"rename it, or delete it first: meshlite delete {kind} {taken} -n {space}",
        ) from error
    write(asked, made)
