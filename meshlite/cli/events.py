"""The mesh's recent events, told one by one as they happen."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

import click

from meshlite.cli.client import Client
from meshlite.cli.failure import Unreachable
from meshlite.cli.output import note, say


class _Stop(Exception):
    """A signal asked to stop following."""


def follow(server: Client, pause: float = 1.0) -> None:
    """Print events until SIGINT or SIGTERM; a server that is away for a while is asked again."""
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    seen, away = _recent(server), False
    try:
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
    except _Stop:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def line(event: dict[str, Any]) -> str:
    """One event as a line for people."""
    at = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    return f"{click.style(at, fg='bright_black')} {event['kind']} {event['subject']}: {event['message']}"


def _recent(server: Client) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = server.get("/v1/events", limit="100")["events"]
    return events


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stop
