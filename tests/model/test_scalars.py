"""Single values as protobuf's JSON mapping takes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from meshlite.model import scalars


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


def why_not(kind: Any, value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    return str(caught.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("5s", 5),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1h", 3600),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("0s", 0),
        ("0", 0),
        ("+2s", 2),
        ("1m0.5s", 60.5),
        ("2000us", 0.002),
        ("3000000ns", 0.003),
        ("5.s", 5),
    ],
)
def test_durations(written: str, seconds: float) -> None:
    assert read(scalars.Duration, written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written", ["", "5", "s", "5 s", "1h-5m", "1d", "-1s", "5S", 5, 0, True, None, "1us", "9e9h", "99999999h"]
)
def test_what_is_no_duration(written: object) -> None:
    assert why_not(scalars.Duration, written)


def test_a_timer_must_be_at_least_a_millisecond() -> None:
    assert "at least 1ms" in why_not(scalars.PositiveDuration, "0s")
    assert read(scalars.PositiveDuration, "1ms") == timedelta(milliseconds=1)


@pytest.mark.parametrize(("written", "number"), [(5, 5), ("5", 5), (5.0, 5), ("-3", -3), (0, 0)])
def test_whole_numbers(written: object, number: int) -> None:
    assert read(scalars.Int32, written) == number


@pytest.mark.parametrize("written", [True, "x", "", "1.5", 1.5, None, [], "٣", 2**31])
def test_what_is_no_whole_number(written: object) -> None:
    assert why_not(scalars.Int32, written)


def test_ranges_are_named() -> None:
    assert why_not(scalars.Port, 70000) == "70000 is not a port: from 1 to 65535"
    assert why_not(scalars.WholePercent, -1) == "-1 is not a percentage: from 0 to 100"
    assert why_not(scalars.HTTPStatus, 99) == "99 is not an HTTP status: from 200 to 599"
    assert why_not(scalars.Count, -1) == "-1 is not a count: from 0 to 2147483647"


def test_shares() -> None:
    assert read(scalars.Share, "0.1") == 0.1
    assert read(scalars.Share, 100) == 100.0
    for wrong in (100.1, -1, 0.00001, "many", True, float("nan"), float("inf")):
        assert why_not(scalars.Share, wrong)


def test_booleans_are_not_words_or_numbers() -> None:
    assert read(scalars.Bool, True) is True
    for wrong in ("true", 1, 0):
        assert why_not(scalars.Bool, wrong)


def test_bytes_are_base64_of_either_alphabet() -> None:
    assert read(scalars.Bytes, "+/8=") == read(scalars.Bytes, "-_8") == b"\xfb\xff"
    assert why_not(scalars.Bytes, "!")


def test_durations_are_written_as_protobuf_writes_them() -> None:
    adapter = TypeAdapter(scalars.Duration)
    assert adapter.dump_json(timedelta(hours=1)) == b'"3600s"'
    assert adapter.dump_json(timedelta(milliseconds=1500)) == b'"1.5s"'
    assert adapter.dump_json(timedelta()) == b'"0s"'
