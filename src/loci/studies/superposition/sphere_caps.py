"""Logarithms of beta functions and of spherical caps, without overflow at any dimension.

    cap of angular radius θ ≤ 90° in R^d:   σ(θ) = ½ I_{sin²θ}((d − 1)/2, ½)
            the share of the sphere within θ of a vector

I is the regularised incomplete beta function, by its continued fraction (DLMF 8.17.22); log B by
Stirling's series with the large terms taken together, so that nothing cancels (Didonato and Morris
1992).
"""

import math

from loci.errors import SuperpositionError

LARGEST = 10**6
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def check_dim(dim: int) -> int:
    """A dimension between 2 and 10⁶. Raises `SuperpositionError`."""
    if not 2 <= dim <= LARGEST or dim != int(dim):
        raise SuperpositionError(
            f"{dim} is no dimension to ask about: expected a whole number from 2 to {LARGEST:,}"
        )
    return int(dim)


def check_angle(angle: float) -> float:
    """An angle from 0.1° to just below 90°. Raises `SuperpositionError`."""
    if not 0.1 <= angle < 90:  # NaN too
        raise SuperpositionError(
            f"{angle}° is no angle to ask about: expected one from 0.1° to just below 90°, where "
            "bounds on almost-orthogonal vectors have a meaning"
        )
    return angle


def cosine(angle: float) -> float:
    """cos of degrees, as the sine of what is left to 90°: no digits are lost near there."""
    return math.sin(math.radians(90 - angle))


def degrees(cos: float) -> float:
    """The angle of a cosine."""
    return 90 - math.degrees(math.asin(cos))


def log_beta(a: float, b: float) -> float:
    """ln B(a, b) for a, b > 0, to relative precision however large they are."""
    a, b = sorted((a, b))
    if b < 10:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    tail = (b - 0.5) * math.log1p(-a / (a + b))
    if a < 10:
        return math.lgamma(a) + _rest(b) - _rest(a + b) + a - a * math.log(a + b) + tail
    rest = _rest(a) + _rest(b) - _rest(a + b)
    return 0.5 * math.log(2 * math.pi / (a + b)) + rest + (a - 0.5) * math.log(a / (a + b)) + tail


def _rest(x: float) -> float:
    """ln Γ(x) beyond (x − ½) ln x − x + ½ ln 2π, for x ≥ 10."""
    return sum(c / x ** (2 * i + 1) for i, c in enumerate(STIRLING))


def log_incomplete_beta(log_x: float, log_rest: float, a: float, b: float) -> float:
    """ln I_x(a, b) from ln x and ln(1 − x), where x is below a / (a + b): there the continued
    fraction converges in O(√a) steps."""
    x, ratio = math.exp(log_x), 1.0
    c, d = 1.0, _away(1 - (a + b) * x / (a + 1))
    d = 1 / d
    fraction = d
    for m in range(1, 100_000):
        for step in (
            m * (b - m) / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + step * x * d)
            c = _away(1 + step * x / c)
            ratio = c * d
            fraction *= ratio
        if abs(ratio - 1) < 1e-15:
            break
    return a * log_x + b * log_rest - math.log(a) - log_beta(a, b) + math.log(fraction)


def _away(value: float) -> float:
    """Not zero: the fraction divides by it."""
    return value if abs(value) > 1e-300 else 1e-300


def log10_cap(dim: int, cos: float) -> float:
    """log₁₀ σ of the cap whose edge has this cosine ≥ 0 to its centre, in R^dim."""
    a, log_sin2 = (dim - 1) / 2, math.log1p(-cos * cos)
    if cos * cos * (a + 2.5) > 1.5:
        log_cap = math.log(0.5) + log_incomplete_beta(log_sin2, 2 * math.log(cos), a, 0.5)
    else:
        inside = math.exp(log_incomplete_beta(2 * math.log(cos), log_sin2, 0.5, a)) if cos else 0.0
        log_cap = math.log(0.5) + math.log1p(-inside)
    return log_cap / math.log(10)
