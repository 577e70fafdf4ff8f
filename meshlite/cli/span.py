"""Spans of time as people type them, e.g. 90s, 30m, 12h, 7d, 1h30m: the type of `--ttl` and its like."""

from __future__ import annotations

import re

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def span(text: str) -> float:
    """Seconds, more than none. Raises BadParameter."""
    if not re.fullmatch(r"([0-9]{1,9}[smhdw])+", text):
        raise click.BadParameter(f"{text!r} is not a time such as 30m, 12h or 7d")
    parts = re.findall(r"([0-9]+)([smhdw])", text)
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if not seconds:
        raise click.BadParameter("it must be longer than nothing")
    return float(seconds)


def left(seconds: float) -> str:
    """What is left, in the two largest units: 6d23h, 59m, 12s; "expired" for nothing."""
    if seconds <= 0:
        return "expired"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m" if minutes else f"{whole}s"
