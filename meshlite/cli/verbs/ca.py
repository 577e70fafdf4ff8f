"""`meshlite ca`: the mesh's certificate authority: how it stands, a new root, one of your own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from meshlite.cli.client import Client
from meshlite.cli.failure import Failure
from meshlite.cli.output import BAD, GOOD, WARN, Output, columns, emit, note, output_option, paint, plain, say
from meshlite.cli.settings import places_of, server_of
from meshlite.cli.span import left, span
from meshlite.cli.verbs.get import clock

LOOK_AGAIN = 0.5
STEPS = {
    "announce": "announced: nodes get the next root, beside the one that signs",
    "sign": "the next root signs now: nodes renew their certificates",
    "drop": "the former root is trusted no more",
}
SOON = 30 * 86400.0

Document = dict[str, Any]


@click.group(short_help="The mesh's certificate authority: show, rotate, bring your own.")
def ca() -> None:
    """Look at the mesh's certificate authority, and replace it without a failed call.

    Another root comes in three steps: it is announced, so that all trust both; it signs, and everything is
    renewed; the former one is trusted no more. No step is taken while somebody depends on things as they are.
    """


@ca.command(short_help="What signs, what is trusted, how a rotation stands.")
@output_option
@click.pass_context
def show(ctx: click.Context, output: Output) -> None:
    """Show which authority signs, until when, which roots are trusted, and what a rotation waits for.

    \b
    JSON: {"phase", "signing": {"subject", "sha256", "root", "key", "not_before", "not_after", "path"},
           "coming", "former": [{"subject", "sha256", "not_after", "trusted"}], "next",
           "waiting": [{"kind", "name", "why"}]}
    """
    value = server_of(places_of(ctx)).get("/v1/authorities")
    emit(value, output, lambda: _show(value, time.time()))


@ca.command(short_help="Replace the root, step by step; goes on where one was interrupted.")
@click.option("--step", "once", is_flag=True, help="Only the next step.")
@click.option("--cancel", is_flag=True, help="Take back a root that is announced and does not sign yet.")
@click.option("--without", multiple=True, metavar="NODE", help="Do not wait for it: it joins anew later.")
@click.option("--wait", type=span, metavar="TIME", default="5m", show_default=True, help="For each step.")
@click.pass_context
def rotate(ctx: click.Context, once: bool, cancel: bool, without: tuple[str, ...], wait: float) -> None:
    """Give the mesh a new root, or the one that `ca import` has announced, without a failed call.

    Run it again after an interruption: it goes on from the step that was reached.
    """
    server = server_of(places_of(ctx))
    if cancel:
        _step(server, "cancel", without)
        note("taken back: the present root goes on signing")
        return
    value = server.get("/v1/authorities")
    while True:
        step = value["next"]
        value = _patiently(server, step, without, time.monotonic() + wait)
        note(STEPS[step])
        if once or value["phase"] == "steady":
            return


@ca.command("import", short_help="Bring an own root or intermediate, to sign next.")
@click.option("--cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option(
    "--chain",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What is above an intermediate, up to the root.",
)
@click.pass_context
def bring(ctx: click.Context, cert: Path, key: Path, chain: Path | None) -> None:
    """Announce an authority of your own (PEM files): a root, or an intermediate with its chain to the root.

    On the server's host only. `meshlite ca rotate` then has it sign, once every node trusts its root.
    """
    body = {
        "certificate": _text(cert),
        "key": _text(key),
        "chain": _text(chain) if chain else "",
    }
    made = server_of(places_of(ctx)).call("POST", "/v1/authorities/import", body).body
    note(f"announced: {plain(made['coming']['subject'])}; meshlite ca rotate has it sign")


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except UnicodeDecodeError:
        raise Failure(f"{file} is not PEM", next_step="convert it: openssl x509 -inform der …") from None


def _patiently(server: Client, step: str, without: tuple[str, ...], until: float) -> Document:
    """Take the step as soon as nobody is in its way. Raises Failure with who is, after the time."""
    told = ""
    while True:
        waiting = server.get("/v1/authorities")["waiting"]
        if not [one for one in waiting if one["name"] not in without]:
            answer = _step(server, step, without, accept=(409,))
            if answer is not None:
                return answer
        reason = _reason(waiting)
        if reason and reason != told:
            note(f"waiting: {reason}")
            told = reason
        if time.monotonic() > until:
            raise Failure(
                f"the step {step} has to wait",
                why=reason,
                next_step="see to it, then run meshlite ca rotate again: it goes on from here",
            )
        time.sleep(LOOK_AGAIN)


def _reason(waiting: list[Document]) -> str:
    """In a line, also where there are many."""
    shown = [f"{one['kind']} {plain(one['name'])} {plain(one['why'])}" for one in waiting[:3]]
    more = [f"and {len(waiting) - 3} more"] if len(waiting) > 3 else []
    return "; ".join((*shown, *more))


def _step(
    server: Client, step: str, without: tuple[str, ...], accept: tuple[int, ...] = ()
) -> Document | None:
    """What is then; None where somebody got in its way meanwhile."""
    body = {"step": step, "without": list(without)}
    answer = server.call("POST", "/v1/authorities/rotation", body, accept=accept)
    value: Document = answer.body
    return value if answer.status < 300 else None


def _show(value: Document, now: float) -> None:
    rows = [_authority("signs", value["signing"], now)]
    if value["coming"]:
        rows.append(_authority("announced", value["coming"], now))
    for one in value["former"]:
        state = "trusted still" if one["trusted"] else "in tokens only"
        rows.append((state, plain(one["subject"]), "-", one["sha256"][:16], _until(one["not_after"], now)))
    columns(("STATE", "NAME", "KEY", "SHA-256", "VALID UNTIL"), rows)
    if value["signing"]["path"]:
        say(f"\nabove what signs: {plain(' < '.join(value['signing']['path']))}")
    if value["phase"] != "steady":
        say(f"\na rotation is under way; its next step: {value['next']} (meshlite ca rotate)")
    for one in value["waiting"]:
        say(paint(f"waiting: {one['kind']} {plain(one['name'])} {plain(one['why'])}", WARN))


def _authority(state: str, one: Document, now: float) -> tuple[str, ...]:
    return (state, plain(one["subject"]), one["key"], one["sha256"][:16], _until(one["not_after"], now))


def _until(end: float, now: float) -> str:
    colour = BAD if end <= now else WARN if end - now < SOON else GOOD
    return f"{clock(end)} ({paint(left(end - now), colour)})"
