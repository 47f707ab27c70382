"""How many directions of R^d are pairwise nearly orthogonal: what is proved, from below and from
above.

    one-sided: all angles ≥ θ           lines: all angles within θ … 180° − θ, that is |cos| ≤ ε =
                                        cos θ

    Gilbert–Varshamov      N ≥ 1/σ(θ), lines 1/(2σ)             greedy: a maximal set's caps cover
                                                                the sphere (Shannon 1959)
    drawn, none removed    N ≈ (σ)^−½, lines (2σ)^−½            expected bad pairs ≤ ½, so with
                                                                probability ≥ ½ there is none
    drawn, bad removed     N ≥ 1/(2σ), lines 1/(4σ)             one vector of each bad pair taken
                                                                out, in expectation
    explicit               see `code_counts`
    Welch, order k         N ≤ (1 − ε^{2k})/(c_k − ε^{2k}),  c_k = Π_{j ≤ k} (2j − 1)/(d + 2j − 2),
                           where c_k > ε^{2k}
    Levenshtein            see `levenshtein`
    Johnson–Lindenstrauss  N = e^{dε²/8}                        as it is often quoted: true, and
                                                                very weak here

All values are log₁₀ N. Rules of thumb are judged: above Levenshtein's bound they are false, below a
known set they are true there. The asymptotic bound of Kabatiansky and Levenshtein (1978) is (1/d)
log₂ N as d → ∞: near 90° it lies below sets that exist, so it is no bound at finite d. Sources:
Welch 1974; Rankin 1955; Conway and Sloane 1999, chapter 9; Dasgupta and Gupta 2003.
"""

import math
from collections.abc import Callable, Sequence

from loci.studies.superposition.bounds_results import Bounds, BoundsTable, RuleOfThumb
from loci.studies.superposition.code_counts import explicit_lines
from loci.studies.superposition.levenshtein import levenshtein_lines, levenshtein_one_sided
from loci.studies.superposition.sphere_caps import (
    check_angle,
    check_dim,
    cosine,
    log10_cap,
    log_beta,
)

LN10 = math.log(10)
TWO = math.log10(2)
RULES: dict[str, Callable[[int, float, float], float]] = {
    "exp(d ε²/8): Johnson–Lindenstrauss, textbook constant": lambda dim, cos, angle: (
        dim * cos**2 / 8 / LN10
    ),
    "exp(d ε²/4): a random draw, union bound": lambda dim, cos, angle: dim * cos**2 / 4 / LN10,
    "exp(d ε²)": lambda dim, cos, angle: dim * cos**2 / LN10,
    "10^(d F²/1500), F = 90° − θ in degrees (constant C = 0.2)": lambda dim, cos, angle: (
        dim * (90 - angle) ** 2 / 1500
    ),
}


def bounds_table(dim: int, angles: Sequence[float]) -> BoundsTable:
    """`bounds` at several angles, widest first.

    Args:
        dim: dimension of the space.
        angles: in degrees.

    Returns: `BoundsTable`.
    Raises: As `bounds`.
    """
    return BoundsTable(
        dim, tuple(bounds(dim, angle) for angle in sorted(set(angles), reverse=True))
    )


def bounds(dim: int, angle: float) -> Bounds:
    """Lower and upper bounds on the number of almost orthogonal directions, as log₁₀ N.

    Args:
        dim: 2 … 10⁶.
        angle: least angle in degrees, 0.1 … 90, without 90.

    Returns: `Bounds`.
    Raises: `SuperpositionError` outside these ranges.
    Cost: Milliseconds; below half a degree in a million dimensions, seconds.
    Source: Welch 1974; Levenshtein; Conway and Sloane 1999, chapter 9.
    """
    dim, angle = check_dim(dim), check_angle(angle)
    cos = cosine(angle)
    cap = log10_cap(dim, cos)
    count = explicit_lines(dim, cos)
    order, welch = welch_lines(dim, cos)
    upper = levenshtein_lines(dim, angle)
    proved = max(-cap - TWO, math.log10(count))
    return Bounds(
        dim=dim,
        angle=angle,
        gilbert_varshamov_one_sided=-cap,
        gilbert_varshamov_lines=-cap - TWO,
        explicit_lines=math.log10(count),
        levenshtein_one_sided=levenshtein_one_sided(dim, angle),
        levenshtein_lines=upper,
        welch_lines=welch,
        johnson_lindenstrauss=dim * cos**2 / 8 / LN10,
        cap=cap,
        drawn_one_sided=-cap / 2,
        drawn_lines=(-cap - TWO) / 2,
        mended_one_sided=-cap - TWO,
        mended_lines=-cap - 2 * TWO,
        welch_order=order,
        kabatiansky_levenshtein_asymptotic=dim
        * _kabatiansky_levenshtein(math.sin(math.radians(angle))),
        scikit_learn=dim * (cos**2 / 2 - cos**3 / 3) / 4 / LN10,
        explicit_count=count,
        rules=tuple(
            _judged(name, rule(dim, cos, angle), proved, upper) for name, rule in RULES.items()
        ),
    )


def _judged(name: str, log10: float, proved: float, upper: float) -> RuleOfThumb:
    return RuleOfThumb(
        name, log10, "false" if log10 > upper else "true" if log10 <= proved else "open"
    )


def _kabatiansky_levenshtein(sin: float) -> float:
    """log₁₀ N / d for d → ∞."""
    high, low = (1 + sin) / (2 * sin), (1 - sin) / (2 * sin)
    return high * math.log10(high) - (low * math.log10(low) if low else 0.0)


def johnson_lindenstrauss_dim(count: float, distortion: float) -> float:
    """d = 4 ln N/(ε²/2 − ε³/3): into so many dimensions some projection takes N points, squared
    distances within 1 ± ε.

    Dasgupta and Gupta 2003, Theorem 2.1. Round it up (scikit-learn's
    `johnson_lindenstrauss_min_dim` cuts it off).
    """
    return 4 * math.log(count) / (distortion**2 / 2 - distortion**3 / 3)


def welch_lines(dim: int, cos: float) -> tuple[int, float]:
    """The order k ≥ 1 whose Welch bound on lines is best, and log₁₀ of it.

    Any order gives a valid bound.

    ln c_k − 2k ln ε is convex in k: once it is positive it stays so, and the best order is soon
    after.
    """

    def log_c(k: int) -> float:
        return log_beta(k + 0.5, (dim - 1) / 2) - log_beta(0.5, (dim - 1) / 2)

    def excess(k: int) -> float:
        return log_c(k) - 2 * k * math.log(cos)

    def bound(k: int) -> float:
        over = excess(k)
        if over <= 0:
            return math.inf
        return (
            math.log(-math.expm1(2 * k * math.log(cos))) - log_c(k) - math.log(-math.expm1(-over))
        )

    high = 1
    while excess(high) <= 0:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if excess(middle) <= 0 else (low, middle)
    best = _valley(bound, high)
    return best, bound(best) / LN10


def _valley(f: Callable[[int], float], start: int) -> int:
    """Where f, which falls and then rises from `start` on, is least: steps that double, then
    halve."""
    step, best = 1, start
    while f(best + step) < f(best):
        best, step = best + step, 2 * step
    while step:
        best = min((best - step, best, best + step), key=lambda k: f(max(k, start)))
        step //= 2
    return max(best, start)
