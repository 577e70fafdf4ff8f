"""wrk's answers are read in every unit it uses; one that says nothing is an error, never a zero."""

from __future__ import annotations

import pytest

from bench.wrk import Measured, command, parse

ANSWER = """Running 3s test @ http://240.240.8.239:9080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.31ms  350.00us   9.12ms   90.27%
    Req/Sec    24.61k     1.10k   26.90k    66.67%
  Latency Distribution
     50%    {p50}
     75%    1.43ms
     90%    1.62ms
     99%    2.31ms
  73512 requests in 3.00s, {read} read
{failed}Requests/sec:  24499.12
Transfer/sec:      {transfer}
"""


def answer(p50: str = "1.25ms", transfer: str = "4.96MB", failed: str = "") -> str:
    return ANSWER.format(p50=p50, transfer=transfer, failed=failed, read="14.88MB")


def test_an_answer_is_read() -> None:
    assert parse(answer()) == Measured(73512, 24499.12, 1250.0, 4.96 * 2**20)


@pytest.mark.parametrize(
    ("text", "microseconds"), [("146.00us", 146.0), ("1.25ms", 1250.0), ("2.01s", 2.01e6), ("1.10m", 66e6)]
)
def test_every_unit_of_time_is_known(text: str, microseconds: float) -> None:
    assert parse(answer(p50=text)).p50 == pytest.approx(microseconds)


@pytest.mark.parametrize(("text", "size"), [("512.00B", 512.0), ("1.50KB", 1536.0), ("3.05GB", 3.05 * 2**30)])
def test_every_unit_of_size_is_known(text: str, size: float) -> None:
    assert parse(answer(transfer=text)).bytes_per_second == pytest.approx(size)


@pytest.mark.parametrize(
    "words", ["Non-2xx or 3xx responses: 795", "Socket errors: connect 0, read 3, write 0, timeout 0"]
)
def test_failed_requests_are_noticed(words: str) -> None:
    assert parse(answer(failed=f"  {words}\n")).failed == words


@pytest.mark.parametrize("text", ["", "unable to connect to 10.0.0.1:9080 Connection refused\n"])
def test_no_answer_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="wrk says nothing"):
        parse(text)


def test_the_load_never_lasts_less_than_wrk_can_measure() -> None:
    assert "-d1s" in command("http://a:1/", "a", 32, 0.2)
