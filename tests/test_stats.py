import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loci.stats import NOTHING, mean, rank_correlation, share, spelt


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_share_lies_in_its_interval_and_the_interval_in_0_1(hits: list[bool]) -> None:
    estimate = share(hits)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.value == pytest.approx(sum(hits) / len(hits))
    assert estimate.n == len(hits)


def test_wilson_against_published_values() -> None:
    """Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        estimate = share([True] * hits + [False] * (n - hits))
        assert (estimate.low, estimate.high) == (
            pytest.approx(low, abs=1e-4),
            pytest.approx(high, abs=1e-4),
        )


def test_interval_holds_its_level() -> None:
    rng = np.random.default_rng(0)
    held = [
        e.low <= 0.9 <= e.high
        for e in (share((rng.random(50) < 0.9).tolist()) for _ in range(2000))
    ]
    assert 0.92 < np.mean(held) < 0.98
    held = [
        e.low <= 1.0 <= e.high
        for e in (mean(rng.exponential(size=60), samples=400) for _ in range(400))
    ]
    assert 0.89 < np.mean(held) < 0.98


def test_nothing_and_one() -> None:
    assert share([]).n == mean([]).n == 0
    assert mean([]).to_dict() == {"value": None, "low": None, "high": None, "n": 0}
    assert math.isnan(mean([2.0]).low)
    assert mean([1.0, 2.0, 4.0], seed=3) == mean([1.0, 2.0, 4.0], seed=3)


def test_what_cannot_be_computed_is_a_dash_with_its_n() -> None:
    assert str(NOTHING) == "–" and NOTHING.interval() == "–" and share([]).told(".0%") == "–"
    one = mean([0.25])
    assert one.told(".2f") == "0.25 (n = 1: no interval)" and one.interval() == "–"
    some = mean([1.0, 2.0, 3.0])
    assert some.told(".1f").startswith("2.0 [") and some.interval(".1f").count("…") == 1
    assert spelt(math.nan, "+.2f") == "–" and spelt(0.5, "+.2f") == "+0.50"
    assert spelt(rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])) == "–"
