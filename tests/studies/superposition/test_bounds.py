"""Bounds against published values, sharp configurations, other formulas, and mpmath."""

import math
import time
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loci.errors import SuperpositionError
from loci.studies.superposition import bounds, bounds_table, johnson_lindenstrauss_dim, reach
from loci.studies.superposition.code_counts import blocks, explicit_lines
from loci.studies.superposition.levenshtein import (
    levenshtein_lines,
    levenshtein_one_sided,
    log_dimensions,
)
from loci.studies.superposition.packing_bounds import welch_lines
from loci.studies.superposition.sphere_caps import cosine, degrees, log10_cap, log_beta

DIMS = st.integers(2, 3000)
ANGLES = st.floats(20, 89.9)
# d, angle: Gilbert–Varshamov one-sided and lines, explicit lines, Levenshtein one-sided and lines,
# Welch, JL
REFERENCE = {
    (100, 89): (0.365283, 0.064254, 100, 2.581286, 2.013301, 2.013301, 0.001654),
    (100, 80): (1.384835, 1.083805, 2148, 5.627877, 5.264107, 6.970352, 0.163695),
    (768, 85): (2.107227, 1.806197, 295168, 10.872586, 10.261147, 17.347484, 0.316700),
    (768, 80): (6.197305, 5.896275, 138412032, 22.745137, 22.360038, 50.297384, 1.257176),
    (12288, 89): (1.576482, 1.275452, 75501568, 12.992967, 11.669760, 18.127221, 0.203182),
    (12288, 88): (4.263539, 3.962509, 566935683072, 26.235422, 25.134800, 60.980710, 0.812482),
    (12288, 87): (8.492712, 8.191682, 566935683072, 43.847186, 43.392574, 118.136384, 1.827157),
    (12288, 85): (
        21.733113,
        21.432083,
        4538783999459328,
        90.042641,
        88.965210,
        272.006254,
        5.067194,
    ),
    (12288, 80): (
        83.375245,
        83.074215,
        36965545741457031168,
        262.229519,
        261.701655,
        798.631348,
        20.114812,
    ),
}


@pytest.mark.parametrize("place", REFERENCE)
def test_reference_values(place: tuple[int, float]) -> None:
    found = bounds(*place)
    one, both, count, upper, upper_lines, welch, jl = REFERENCE[place]
    assert found.gilbert_varshamov_one_sided == pytest.approx(one, abs=1e-5)
    assert found.gilbert_varshamov_lines == pytest.approx(both, abs=1e-5)
    assert found.explicit_count == count
    assert found.levenshtein_one_sided == pytest.approx(upper, abs=1e-5)
    assert found.levenshtein_lines == pytest.approx(upper_lines, abs=1e-5)
    assert found.welch_lines == pytest.approx(welch, abs=1e-5)
    assert found.johnson_lindenstrauss == pytest.approx(jl, abs=1e-5)


def test_document_has_the_fields_asked_for() -> None:
    document = bounds(12288, 89).to_dict()
    assert document["schema"] == "loci.superposition_bounds/1"
    assert (document["dim"], document["angle"]) == (12288, 89)
    assert set(document["log10"]) == {
        "gilbert_varshamov_one_sided",
        "gilbert_varshamov_lines",
        "explicit_lines",
        "levenshtein_one_sided",
        "levenshtein_lines",
        "welch_lines",
        "johnson_lindenstrauss",
    }


@pytest.mark.parametrize(
    ("dim", "cos", "count"),
    [(8, 1 / 2, 240), (24, 1 / 2, 196560), (3, 5**-0.5, 12), (4, 1 / 2, 26), (3, 1 / 2, 93 / 7)],
)
def test_sharp_vectors(dim: int, cos: float, count: float) -> None:
    """E8, the Leech lattice, the icosahedron; and values of the bound that are not met."""
    assert 10 ** levenshtein_one_sided(dim, degrees(cos)) == pytest.approx(count, rel=1e-10)


@pytest.mark.parametrize(
    ("dim", "cos", "count"),
    [
        (8, 1 / 2, 120),
        (24, 1 / 2, 98280),
        (7, 1 / 3, 28),
        (23, 1 / 5, 276),
        (16, 1 / 4, 144),
        (3, 5**-0.5, 6),
        (256, 1 / 16, 33024),
        (4096, 1 / 64, 8392704),
    ],
)
def test_sharp_lines(dim: int, cos: float, count: int) -> None:
    assert 10 ** levenshtein_lines(dim, degrees(cos)) == pytest.approx(count, rel=1e-9)


def test_plane_is_exact() -> None:
    for n in (3, 4, 5, 12, 100):
        assert 10 ** levenshtein_lines(2, 180 / n) == pytest.approx(n, rel=1e-9)
        assert 10 ** levenshtein_one_sided(2, 360 / max(n, 5)) == pytest.approx(max(n, 5), rel=1e-9)


@given(DIMS, ANGLES)
def test_levenshtein_is_the_quadrature_with_the_angle_as_node(dim: int, angle: float) -> None:
    """The bound from below: below the first order it is the explicit rational function (Rankin's
    and Welch's first).
    """
    cos = cosine(angle)
    if cos <= (math.sqrt(dim + 3) - 1) / (
        dim + 2
    ):  # the third bound: d (1 − s)(2 + (d + 1) s) / (1 − d s²)
        third = dim * (1 - cos) * (2 + (dim + 1) * cos) / (1 - dim * cos * cos)
        assert levenshtein_one_sided(dim, angle) == pytest.approx(math.log10(third), abs=1e-9)
    if cos * cos <= 1 / (dim + 2):
        first = dim * (1 - cos * cos) / (1 - dim * cos * cos)
        assert levenshtein_lines(dim, angle) == pytest.approx(math.log10(first), abs=1e-9)


@given(DIMS, ANGLES)
def test_what_exists_is_below_what_is_impossible(dim: int, angle: float) -> None:
    found = bounds(dim, angle)
    small = 1e-9
    assert found.proved_lines <= found.levenshtein_lines + small
    assert found.levenshtein_lines <= found.welch_lines + small
    assert found.levenshtein_lines <= found.levenshtein_one_sided + small
    assert (
        found.drawn_lines <= found.gilbert_varshamov_lines + small
        or found.gilbert_varshamov_lines < 0
    )
    assert found.explicit_lines >= math.log10(dim) - small


@given(DIMS, st.floats(20, 89))
def test_wider_angles_hold_fewer(dim: int, angle: float) -> None:
    for bound in (levenshtein_one_sided, levenshtein_lines):
        assert bound(dim, angle + 0.5) <= bound(dim, angle) + 1e-9
    assert log10_cap(dim, cosine(angle)) <= log10_cap(dim, cosine(angle + 0.5)) + 1e-12


@pytest.mark.parametrize(
    ("dim", "angle"),
    [(2, 30), (3, 60), (7, 89.99), (100, 1), (12288, 85), (12288, 89.9), (10**6, 45)],
)
def test_cap_against_mpmath(dim: int, angle: float) -> None:
    with mpmath.workdps(40):
        theta = mpmath.radians(mpmath.mpf(angle))
        exact = mpmath.log10(
            mpmath.betainc(
                (dim - 1) / mpmath.mpf(2), 0.5, 0, mpmath.sin(theta) ** 2, regularized=True
            )
            / 2
        )
    assert log10_cap(dim, cosine(angle)) == pytest.approx(float(exact), rel=1e-9)


def test_cap_published_digits() -> None:
    assert log10_cap(12288, cosine(85)) == pytest.approx(-21.733112976108, abs=1e-9)
    assert log10_cap(116000, cosine(85)) == pytest.approx(-193.940227951745, abs=1e-9)


@given(st.floats(0.5, 1e6), st.floats(0.5, 1e6))
def test_log_beta(a: float, b: float) -> None:
    with mpmath.workdps(40):
        exact = (
            mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(mpmath.mpf(a) + mpmath.mpf(b))
        )
    assert log_beta(a, b) == pytest.approx(float(exact), rel=1e-11, abs=1e-11)


def test_dimensions_of_polynomials() -> None:
    for d in (3, 4, 9):
        for n in (0, 1, 2, 7):
            sphere = math.comb(n + d - 1, n) + (math.comb(n + d - 2, n - 1) if n else 0)
            assert math.exp(log_dimensions((d - 3) / 2, (d - 3) / 2, n)) == pytest.approx(sphere)
            assert math.exp(log_dimensions((d - 3) / 2, -0.5, n)) == pytest.approx(
                math.comb(2 * n + d - 1, d - 1)
            )


@given(st.integers(3, 200), st.floats(30, 89.9))
def test_welch_is_the_best_of_all_orders(dim: int, angle: float) -> None:
    eps, c, best = Fraction(cosine(angle)), Fraction(1), math.inf
    for k in range(1, 61):
        c *= Fraction(2 * k - 1, dim + 2 * k - 2)
        if c > eps ** (2 * k):
            best = min(best, math.log10((1 - eps ** (2 * k)) / (c - eps ** (2 * k))))
    order, found = welch_lines(dim, float(eps))
    assert found <= best + 1e-7
    if order <= 60:
        assert found == pytest.approx(best, abs=1e-7)


def test_welch_of_real_vectors() -> None:
    vectors = np.random.default_rng(0).standard_normal((40, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    largest = np.abs(vectors @ vectors.T - np.eye(40)).max()
    assert math.log10(40) <= welch_lines(5, float(largest))[1]


@pytest.mark.parametrize("angle", [89.999, 89, 60, 20, 1])
def test_a_million_dimensions_in_about_a_second(angle: float) -> None:
    start = time.process_time()
    found = bounds(10**6, angle)
    assert (
        time.process_time() - start < 2
    )  # a busy machine; alone it is a third of a second at most
    assert all(math.isfinite(value) for value in found.to_dict()["log10"].values())


def test_long_recurrence_forgets_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ((12288, 20.0), (50_000, 40.0), (3000, 5.0))
    quick = [(levenshtein_one_sided(*one), levenshtein_lines(*one)) for one in asked]
    monkeypatch.setattr("loci.studies.superposition.levenshtein._start", lambda *_: 0)
    for one, (vectors, lines) in zip(asked, quick, strict=True):
        assert levenshtein_one_sided(*one) == pytest.approx(vectors, abs=1e-6)
        assert levenshtein_lines(*one) == pytest.approx(lines, abs=1e-6)


def test_rules_of_thumb_are_judged() -> None:
    for angle, verdict in ((89, "open"), (88, "false"), (87, "false"), (85, "false")):
        rules = bounds(12288, angle).rules
        assert rules[-1].log10 == pytest.approx(12288 * (90 - angle) ** 2 / 1500)
        assert rules[-1].verdict == verdict
        assert [rule.verdict for rule in rules[:2]] == ["true", "true"]


def test_asymptotic_bound_is_below_sets_that_exist() -> None:
    found = bounds(12288, 89)
    assert found.kabatiansky_levenshtein_asymptotic == pytest.approx(4.2608, abs=1e-3)
    assert found.kabatiansky_levenshtein_asymptotic < found.explicit_lines


def test_explicit_counts() -> None:
    assert explicit_lines(256, cosine(86.4)) == 33024 == 256 * 129
    assert explicit_lines(4096, cosine(89.1)) == 8392704
    assert explicit_lines(16384, cosine(89.5)) == 134234112
    assert [one.dim for one in blocks(12288, 6)] == [8192, 4096]
    assert explicit_lines(12, cosine(89.9)) == 12


def test_johnson_lindenstrauss_dimension() -> None:
    """The anchors of scikit-learn's documentation, which cuts off."""
    assert [int(johnson_lindenstrauss_dim(1e6, e)) for e in (0.5, 0.1, 0.01)] == [
        663,
        11841,
        1112658,
    ]


@pytest.mark.parametrize(
    ("count", "dim", "limit", "drawn"),
    [
        (10_000, 100, 81.951, 58.13),
        (1000, 100, 84.554, 62.68),
        (400, 30, 79.874, 45.00),
        (50_257, 768, 87.948, 77.21),
        (1e6, 12288, 89.486, 86.34),
        (4e10, 12288, 89.105, 85.05),
    ],
)
def test_reach(count: float, dim: int, limit: float, drawn: float) -> None:
    found = reach(dim, count).lines
    assert found.limit == pytest.approx(limit, abs=1e-3)
    assert found.drawn == pytest.approx(drawn, abs=6e-3)
    assert found.drawn < found.possible <= found.limit + 1e-6


def test_reach_where_it_is_known_exactly() -> None:
    for found in (reach(7, 8).lines, reach(2, 3).lines):
        assert found.possible == pytest.approx(found.limit, abs=1e-6)
    assert reach(256, 33024).lines.possible == pytest.approx(degrees(1 / 16))
    assert reach(256, 33024).lines.limit == pytest.approx(degrees(1 / 16), abs=1e-6)
    assert reach(50, 50).lines.possible == reach(50, 100).one_sided.possible == 90


@settings(max_examples=25)
@given(st.integers(2, 500), st.integers(2, 10**6))
def test_reach_undoes_the_bound(dim: int, count: int) -> None:
    found = reach(dim, count).lines
    assert found.possible <= found.limit + 1e-6
    if 0.2 < found.limit < 89.9:
        assert levenshtein_lines(dim, found.limit) == pytest.approx(math.log10(count), abs=1e-4)


def test_table_is_sorted() -> None:
    assert [row.angle for row in bounds_table(100, (80, 89, 85, 89)).rows] == [89, 85, 80]


@pytest.mark.parametrize("angle", [0, -3, 90, 91, 180, math.nan, math.inf])
def test_angles_without_a_meaning(angle: float) -> None:
    with pytest.raises(SuperpositionError, match="no angle to ask about"):
        bounds(100, angle)


@pytest.mark.parametrize("dim", [1, 0, -5, 10**7])
def test_dimensions_without_a_meaning(dim: int) -> None:
    for ask in (lambda: bounds(dim, 85), lambda: reach(dim, 10)):
        with pytest.raises(SuperpositionError, match="no dimension"):
            ask()


@pytest.mark.parametrize("count", [0, 1, -4, math.nan, math.inf])
def test_counts_without_a_meaning(count: float) -> None:
    with pytest.raises(SuperpositionError, match="no smallest angle"):
        reach(100, count)
