"""Levenshtein's upper bound on the number of unit vectors, or of lines, of which no two are
nearer than an angle.

    L_{2k−1}(s) = S_{k−1} · (1 − Q^{1,0}_{k−1}(s) / Q_k(s))           for  t^{1,1}_{k−1} ≤ s ≤
                                                                      t^{1,0}_k
    L_{2k}(s)   = (2 / c) · the same for the weight (1 + x) w(x)      for  t^{1,0}_k ≤ s ≤ t^{1,1}_k

Q_k: Jacobi polynomials with Q_k(1) = 1 for the weight w = (1 − x)^α (1 + x)^β; S_k = Σ_{i ≤ k} of
their dimensions; c = ∫ (1 + x) w; t^{a,b}_k: the largest zero of Q_k with α + a, β + b. Vectors: α
= β = (d − 3)/2 and s = cos θ. Lines: α = (d − 3)/2, β = −½ and s = 2 cos² θ − 1. Both are 1 over
the weight at 1 of the quadrature whose nodes hold 1 and s (and −1). Only the quotient Q_{k−1}/Q_k
is needed, and it forgets where its recurrence began, so a large k costs few steps.

Source: Levenshtein 1998, Universal bounds for codes and designs (Handbook of Coding Theory),
Theorem 4.3; Szegő 4.5.8 for S_k.
"""

import math
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from loci.studies.superposition.sphere_caps import log_beta

LN10 = math.log(10)
MARGIN = 6


def levenshtein_one_sided(dim: int, angle: float) -> float:
    """log₁₀ of the bound on unit vectors in R^dim of which no two are nearer than `angle`
    degrees, below 90."""
    return _bound((dim - 3) / 2, (dim - 3) / 2, 2 * math.sin(math.radians(angle / 2)) ** 2)


def levenshtein_lines(dim: int, angle: float) -> float:
    """log₁₀ of the bound on lines in R^dim of which no two are nearer than `angle` degrees,
    below 90."""
    return _bound((dim - 3) / 2, -0.5, 2 * math.sin(math.radians(angle)) ** 2)


def _bound(alpha: float, beta: float, gap: float) -> float:
    """`gap` is 1 − s."""
    start = _start(alpha, beta, 1 - gap)
    own, shifted = _polynomials(alpha, beta, gap, start), _polynomials(alpha, beta + 1, gap, start)
    last, last_shifted = next(own), next(shifted)
    for k, (now, now_shifted) in enumerate(zip(own, shifted, strict=True), start=start + 1):
        # `last` is of degree k, `now` of k + 1; Q^{1,0}_k ∝ Q_k − Q_{k+1}, and Q^{1,1}_k the same
        # of the shifted weight
        if now_shifted.step >= 0:
            if now.step >= 0:
                return _odd(alpha, beta, k, gap, last)
            mass = 2 * (beta + 1) / (alpha + beta + 2)
            return math.log10(2 / mass) + _odd(alpha, beta + 1, k, gap, last_shifted)
        last, last_shifted = now, now_shifted
    raise AssertionError("the recurrence has no end")


def _odd(alpha: float, beta: float, k: int, gap: float, polynomial: "Polynomial") -> float:
    """log₁₀ S_{k−1} (1 − Q^{1,0}_{k−1}/Q_k), where Q^{1,0}_{k−1} = 2(α + 1)/(2k + α + β) ·
    (Q_{k−1} − Q_k)/(1 − s)."""
    factor = 1 + 2 * (alpha + 1) / (2 * k + alpha + beta) * polynomial.step / polynomial.value / gap
    return (log_dimensions(alpha, beta, k - 1) + math.log(factor)) / LN10


def log_dimensions(alpha: float, beta: float, n: int) -> float:
    """ln S_n: how many independent functions of degree ≤ n there are (on the sphere, or even
    ones for lines)."""
    if n == 0:
        return 0.0
    first = -math.log(n + alpha + beta + 2) - log_beta(n + 1, alpha + beta + 2)
    return first + log_beta(n, beta + 1) - log_beta(n, alpha + 2)


class Polynomial(NamedTuple):
    """Q_n and Q_n − Q_{n−1} at one point, up to a common positive factor."""

    value: float
    step: float


def _polynomials(alpha: float, beta: float, gap: float, start: int) -> Iterator[Polynomial]:
    """Q_n at 1 − gap, for n = start + 1, start + 2, …

    Of Q_n = a Q_{n−1} − b Q_{n−2} (Szegő 4.5.1, divided by the values at 1) only b and 1 + b − a ∝
    gap are used, and differences are kept, so that no digits are lost at small angles.
    """
    both = alpha + beta

    def coefficients(n: int) -> tuple[float, float]:
        b = (
            (n - 1)
            * (n + beta - 1)
            * (2 * n + both)
            / ((n + alpha) * (n + both) * (2 * n + both - 2))
        )
        return b, gap * (2 * n + both - 1) * (2 * n + both) / (2 * (n + alpha) * (n + both))

    step = -gap * (both + 2) / (2 * (alpha + 1))
    if start:
        b, drop = coefficients(start + 1)
        a = 1 + b - drop
        step = (
            a + math.sqrt(max(0.0, a * a - 4 * b))
        ) / 2 - 1  # the growing solution, where the coefficients vary slowly
    value = 1 + step
    for n in count(start + 2):
        yield Polynomial(value, step)
        b, drop = coefficients(n)
        step = b * step - drop * value
        value += step
        scale = max(abs(value), abs(step))
        value, step = value / scale, step / scale


def _start(alpha: float, beta: float, x: float) -> int:
    """A degree far enough below the one at which x is the largest zero that what the recurrence
    begins with is forgotten.

    The zeros of degree n lie within the turning points of the oscillation. D degrees below, an
    error still shrinks by exp(−O((D/D₀)^{3/2})), where D₀ = n^{1/3} (1 + n/α)^{2/3}.
    """
    low, high = 0.0, 1.0
    while _edge(alpha, beta, high) < x:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _edge(alpha, beta, middle) < x else (low, middle)
    start = int(low - MARGIN * low ** (1 / 3) * (1 + low / max(alpha, 0.5)) ** (2 / 3))
    return start if start > 1000 else 0


def _edge(alpha: float, beta: float, n: float) -> float:
    """Beyond this x no polynomial of degree n oscillates."""
    total = 2 * n + alpha + beta + 1
    square = max(total * total, 1e-9)  # 0 in the plane
    root = (square - (alpha + beta) ** 2) * (square - (alpha - beta) ** 2)
    return (beta * beta - alpha * alpha + math.sqrt(max(0.0, root))) / square
