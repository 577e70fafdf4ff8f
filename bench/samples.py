"""Medians and ratios of paired samples: what a shared, noisy machine still tells reliably."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def median(samples: Sequence[float]) -> float:
    """ValueError where nothing was measured."""
    if not samples:
        raise ValueError("no samples")
    return statistics.median(samples)


def quantile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that `share` (0 to 1) of all samples do not exceed."""
    if not samples:
        raise ValueError("no samples")
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


def paired_ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Median of the ratios of samples taken one after the other, so that both saw the same noise."""
    return median([one / other for one, other in zip(these, those, strict=True)])
