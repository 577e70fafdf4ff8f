"""Durations as Prometheus and people read them."""

from __future__ import annotations

import pytest

from meshlite.agent.metrics import Durations, gauge


def test_durations_are_counted_in_growing_buckets() -> None:
    durations = Durations("x_seconds", "Help.")
    for seconds in (0.0005, 0.004, 0.004, 30.0):
        durations.observe(seconds)
    lines = list(durations.lines())
    assert 'x_seconds_bucket{le="0.001"} 1' in lines
    assert 'x_seconds_bucket{le="0.005"} 3' in lines
    assert 'x_seconds_bucket{le="5.0"} 3' in lines
    assert 'x_seconds_bucket{le="+Inf"} 4' in lines
    assert "x_seconds_count 4" in lines


def test_quantiles_are_of_the_newest() -> None:
    durations = Durations("x", "")
    assert durations.quantile(0.5) == 0
    for milliseconds in range(1, 101):
        durations.observe(milliseconds / 1000)
    assert durations.quantile(0.5) == pytest.approx(0.051)
    assert durations.quantile(0.99) == pytest.approx(0.1)


def test_a_gauge_says_what_it_is() -> None:
    assert list(gauge("up", "Whether.", 1, {"a": "b"})) == [
        "# HELP up Whether.",
        "# TYPE up gauge",
        'up{a="b"} 1',
    ]
