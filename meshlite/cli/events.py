"""The mesh's recent events, told one by one as they happen."""

from __future__ import annotations

import time
from typing import Any

import click

from meshlite.cli.client import Client
from meshlite.cli.failure import Unreachable
from meshlite.cli.output import note, say


def follow(server: Client, pause: float = 1.0) -> None:
    """Print events for ever; a server that is away for a while is asked again."""
    seen, away = _recent(server), False
    while True:
        time.sleep(pause)
        try:
            latest = _recent(server)
        except Unreachable as failure:
            if not away:
                note(f"{failure.message}; asking again")
            away = True
            continue
        away = False
        for event in latest:
            if event not in seen:
                say(line(event))
        seen = latest


def line(event: dict[str, Any]) -> str:
    """One event as a line for people."""
    at = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    return f"{click.style(at, fg='bright_black')} {event['kind']} {event['subject']}: {event['message']}"


def _recent(server: Client) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = server.get("/v1/events", limit="100")["events"]
    return events
