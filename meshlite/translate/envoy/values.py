"""Small values in Envoy's JSON form: durations, shares, string matchers, sources of configuration."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from meshlite.translate.plan.route import Text

ADS = {"ads": {}, "resource_api_version": "V3"}
SECRETS = {**ADS, "initial_fetch_timeout": "1s"}
"""A certificate that is missing must not hold up all that waits beside it for long."""


_SOL_SOCKET, _SO_MARK = 1, 36


def marked(mark: int) -> list[dict[str, Any]]:
    """Capture lets pass what carries the mark, so the proxy never takes its own connections."""
    option = {"level": _SOL_SOCKET, "name": _SO_MARK, "int_value": mark, "state": "STATE_PREBIND"}
    return [option | {"description": "SO_MARK"}]


def duration(value: timedelta) -> str:
    """Milliseconds are exact; a float of seconds is not used, so equal values are written alike."""
    milliseconds = value // timedelta(milliseconds=1)
    return f"{milliseconds // 1000}.{milliseconds % 1000:03}s"


def share(millionths: int) -> dict[str, Any]:
    return {"numerator": millionths, "denominator": "MILLION"}


def fraction(millionths: int) -> dict[str, Any]:
    """A share where Envoy would let its runtime override it."""
    return {"default_value": share(millionths)}


def string_match(text: Text) -> dict[str, Any]:
    if text.kind == "regex":
        return {"safe_regex": {"regex": text.value}}
    return {text.kind: text.value}


def only(**fields: Any) -> dict[str, Any]:
    """The fields that say something: what is None, False, empty or 0 is left to Envoy's default."""
    return {name: value for name, value in fields.items() if value}
