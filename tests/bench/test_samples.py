"""Medians, quantiles and paired ratios, and figures that say whether they were reached."""

from __future__ import annotations

import pytest

from bench.figures import Figure, Options, Part, document
from bench.hop import DIRECT, LOADS, MESHLITE, PLAIN, SIDECARS, Sample, figures, table
from bench.samples import median, paired_ratio, quantile


def test_one_wild_sample_moves_no_median() -> None:
    assert median([10, 11, 900, 9, 10]) == 10


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 5), (0.95, 10), (1.0, 10)])
def test_quantiles_are_samples(share: float, value: float) -> None:
    assert quantile([7, 1, 9, 3, 5, 2, 10, 4, 6, 8], share) == value


def test_nothing_measured_is_an_error() -> None:
    for function in (median, lambda samples: quantile(samples, 0.5)):
        with pytest.raises(ValueError, match="no samples"):
            function([])


def test_noise_that_both_saw_cancels_out() -> None:
    slow_then_quick = [50.0, 100.0, 200.0]
    assert paired_ratio([2 * rate for rate in slow_then_quick], slow_then_quick) == 2


def test_unpaired_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="longer"):
        paired_ratio([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("value", "bound", "met"),
    [
        (1.6, "at least", True),
        (1.59, "at least", False),
        (0.5, "at most", True),
        (0.51, "at most", False),
    ],
)
def test_a_figure_knows_whether_it_was_reached(value: float, bound: str, met: bool) -> None:
    target = 1.6 if bound == "at least" else 0.5
    figure = Figure("rate", value, "×", "at least" if bound == "at least" else "at most", target)
    assert figure.met is met
    assert figure.verdict == ("met" if met else "not met")
    written = document([Part("hop", "One hop", (figure,))], {})
    assert written["parts"][0]["figures"][0]["met"] is met


def test_quick_runs_take_fewer_samples() -> None:
    assert Options(quick=True).times(30) < Options().times(30) == 30


def samples() -> dict[str, list[Sample]]:
    return {
        DIRECT: [Sample(1000, 100, 0)] * 2,
        MESHLITE: [Sample(200, 190, 40), Sample(100, 210, 80)],
        SIDECARS: [Sample(100, 300, 100), Sample(50, 300, 200)],
        PLAIN: [Sample(110, 280, 90)] * 2,
    }


def test_the_table_compares_with_no_mesh_and_with_sidecars() -> None:
    rows = {row[0]: row[1:] for row in table(LOADS[0], samples()).rows}
    assert rows[MESHLITE] == ("150", "200", "100", "60.0", "2.00", "0.40")
    assert rows[DIRECT][2:4] == ("–", "–")


def test_every_load_has_a_figure_for_rate_and_for_cost() -> None:
    made = figures({load.name: samples() for load in LOADS})
    assert len(made) == 2 * len(LOADS)
    assert {figure.value for figure in made} == {2.0, 0.4}
