"""Estimates with their uncertainty: a value, a 95 % interval, and the n behind it."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Z95 = 1.959963984540054


class Estimate(NamedTuple):
    """A mean with its 95 % interval. `n` counts independent units; where it is 0, there is no
    value.
    """

    value: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """NaN becomes None, which JSON can say."""
        return {
            name: None if isinstance(x, float) and math.isnan(x) else x
            for name, x in self._asdict().items()
        }

    def __str__(self) -> str:
        return self.told()

    def told(self, form: str = ".3g") -> str:
        """The value with its interval, or with the n that is too small for one;
        a dash for nothing.
        """
        if self.n == 0 or math.isnan(self.value):
            return "–"
        value = format(self.value, form)
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{value} (n = {self.n}: no interval)"
        return f"{value} [{self.low:{form}}, {self.high:{form}}]"

    def interval(self, form: str = ".3g") -> str:
        """low … high, or a dash where so few units have none."""
        if self.n == 0 or math.isnan(self.low) or math.isnan(self.high):
            return "–"
        return f"{self.low:{form}} … {self.high:{form}}"


def percent(estimate: Estimate) -> str:
    """A share with its interval, in words' company."""
    return estimate.told(".0%") if estimate.n else "not measured"


def spelt(value: float, form: str = ".3g") -> str:
    """A number, or a dash where there is none."""
    return "–" if math.isnan(value) else format(value, form)


NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


def share(parts: Sequence[float]) -> Estimate:
    """Mean of values in [0, 1] (hits, or each unit's share of hits) with Wilson's interval (Wilson
    1927).

    It holds its level near 0 and 1 and for small n, and is conservative for shares, whose variance
    is at most p(1 − p).
    """
    n = len(parts)
    if not n:
        return NOTHING
    p, z2 = sum(parts) / n, Z95**2
    middle, half = (
        (p + z2 / (2 * n)) / (1 + z2 / n),
        Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n),
    )
    return Estimate(p, min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half)), n)


def mean(values: Sequence[float], seed: int = 0, samples: int = 2000) -> Estimate:
    """Mean with a seeded percentile-bootstrap interval. One value has no interval: low and high are
    NaN.
    """
    x = np.asarray(values, dtype=float)
    if not len(x):
        return NOTHING
    return _bootstrapped(x, np.mean, seed, samples)


def median(values: Sequence[float], seed: int = 0, samples: int = 2000) -> Estimate:
    """Median with a seeded percentile-bootstrap interval."""
    x = np.asarray(values, dtype=float)
    return _bootstrapped(x, np.median, seed, samples) if len(x) else NOTHING


def _bootstrapped(x: np.ndarray, statistic: Any, seed: int, samples: int) -> Estimate:
    if len(x) == 1:
        return Estimate(float(x[0]), math.nan, math.nan, 1)
    draws = np.random.default_rng(seed).integers(0, len(x), (samples, len(x)))
    low, high = np.quantile(statistic(x[draws], axis=1), [0.025, 0.975])
    return Estimate(float(statistic(x)), float(low), float(high), len(x))


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's ρ: the correlation of the ranks, equal values sharing their mean rank; NaN where
    one side does not vary.
    """
    return correlation(_ranks(a), _ranks(b))


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for index in order[start:end]:
            ranks[index] = (start + end - 1) / 2
        start = end
    return ranks


def correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's r; NaN where one side does not vary."""
    x, y = ([value - sum(side) / len(side) for value in side] for side in (a, b))
    scale = math.sqrt(sum(v * v for v in x) * sum(v * v for v in y))
    return sum(v * w for v, w in zip(x, y, strict=True)) / scale if scale else math.nan
