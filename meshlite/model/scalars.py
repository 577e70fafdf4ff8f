"""Single values of Istio resources, read as protobuf's JSON mapping does, with the ranges that Istio demands.

Source: https://protobuf.dev/programming-guides/json/ and https://pkg.go.dev/time#ParseDuration
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, PlainSerializer, Strict
from pydantic_core import PydanticCustomError

_SECOND = 10**9
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_TERM = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_LONGEST = 2**63 - 1
_MILLISECOND = 10**6


def refuse(reason: str) -> PydanticCustomError:
    """The error to raise from a validator: `reason` reaches the user as it is."""
    return PydanticCustomError("refused", "{reason}", {"reason": reason})


def read_duration(value: object) -> timedelta:
    """`1h30m`, `1.5s`, `250ms`, `0` as Go reads them; exact to milliseconds, as Istio demands."""
    if isinstance(value, timedelta):
        return value
    text = value.removeprefix("+") if isinstance(value, str) else ""
    if text.startswith("-"):
        raise refuse(f"{shown(value)} is negative")
    terms = list(_TERM.finditer(text))
    if text != "0" and (not terms or "".join(term.group() for term in terms) != text):
        raise refuse(f"{shown(value)} is not a duration: write a number and a unit, e.g. 5s, 250ms or 1h30m")
    nanoseconds = sum(Fraction(term[1].rstrip(".")) * _UNITS[term[2]] for term in terms)
    if nanoseconds > _LONGEST:
        raise refuse(f"{shown(value)} is too long")
    if nanoseconds % _MILLISECOND:
        raise refuse(f"{shown(value)} is too fine: durations are exact to milliseconds")
    return timedelta(milliseconds=int(nanoseconds // _MILLISECOND))


def write_duration(value: timedelta) -> str:
    seconds = Fraction(round(value / timedelta(milliseconds=1)), 1000)
    return f"{float(seconds):.3f}".rstrip("0").rstrip(".") + "s"


def _positive_duration(value: object) -> timedelta:
    duration = read_duration(value)
    if duration < timedelta(milliseconds=1):
        raise refuse(f"{shown(value)} must be at least 1ms")
    return duration


def _whole(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise refuse(f"{shown(value)} is not a whole number")


def _integer(low: int, high: int, what: str = "in range") -> Callable[[object], int]:
    """A reader of whole numbers from `low` to `high`; `"5"` and `5.0` are 5, as in proto JSON."""

    def read(value: object) -> int:
        number = _whole(value)
        if not low <= number <= high:
            raise refuse(f"{shown(value)} is not {what}: from {low} to {high}")
        return number

    return read


def _number(low: float, high: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refuse(f"{shown(value)} is not a number")
        if not (low <= value <= high) or (isinstance(value, float) and math.isinf(value)):
            raise refuse(f"{shown(value)} is not between {low:g} and {high:g}")
        return float(value)

    return read


def _share(value: object) -> float:
    """A percentage: Envoy counts in millionths, so less than 0.0001 would silently mean none."""
    number = _number(0, 100)(value)
    if 0 < number < 0.0001:
        raise refuse(f"{shown(value)} is smaller than 0.0001, the smallest share that can be applied")
    return number


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            padded = value.translate(str.maketrans("-_", "+/")) + "=" * (-len(value) % 4)
            return base64.b64decode(padded, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise refuse(f"{shown(value)} is not base64")


def by_number(literal: Any) -> BeforeValidator:
    """An enum may be written as its number, too: the place of its name in `literal`, where gaps are None."""
    names = get_args(literal)

    def read(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
            return names[value]
        return value

    return BeforeValidator(read)


def shown(value: object) -> str:
    """A user's value, short enough for one line of an error."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


_SERIALIZER = PlainSerializer(write_duration, return_type=str, when_used="json")

Bool = Annotated[bool, Strict()]
Bytes = Annotated[bytes, BeforeValidator(_bytes)]
Duration = Annotated[timedelta, BeforeValidator(read_duration), _SERIALIZER]
PositiveDuration = Annotated[timedelta, BeforeValidator(_positive_duration), _SERIALIZER]
Int32 = Annotated[int, BeforeValidator(_integer(-(2**31), 2**31 - 1))]
UInt32 = Annotated[int, BeforeValidator(_integer(0, 2**32 - 1))]
UInt64 = Annotated[int, BeforeValidator(_integer(0, 2**64 - 1))]
Count = Annotated[int, BeforeValidator(_integer(0, 2**31 - 1, "a count"))]
WholePercent = Annotated[int, BeforeValidator(_integer(0, 100, "a percentage"))]
HTTPStatus = Annotated[int, BeforeValidator(_integer(200, 599, "an HTTP status"))]
Port = Annotated[int, BeforeValidator(_integer(1, 65535, "a port"))]
PortOrAny = Annotated[int, BeforeValidator(_integer(0, 65535, "a port"))]
"""A port filter: 0, like absence, means any port."""
Percentage = Annotated[float, BeforeValidator(_number(0, 100))]
Share = Annotated[float, BeforeValidator(_share)]
NonNegative = Annotated[float, BeforeValidator(_number(0, math.inf))]
