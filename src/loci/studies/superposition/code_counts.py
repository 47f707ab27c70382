"""How many lines explicit codes give: counts alone; `codes` builds the vectors.

    block of d = 2^m, entries ±1/√d, |cos| ≤ 2^−r:
        m odd,  r ≤ (m − 1)/2      2^{m (t + 1)},  t = (m − 2r + 1)/2
                r = (m − 1)/2: Gold; below: duals of BCH codes
        m even, r = m/2            d (d/2 + 1)
                Kerdock with the standard basis
        m even, r < m/2            2^{(m − 1)(m − 2r + 2)/2 + m}            Delsarte–Goethals
        any d                      d                                        the standard basis
    any d: blocks on disjoint coordinates are orthogonal, so their numbers add: 12,288 = 8,192 +
        4,096

Sources: MacWilliams and Sloane 1977, chapters 9 and 15; Calderbank, Cameron, Kantor and Seidel
1997.
"""

import math
from typing import NamedTuple

SMALLEST, LARGEST = 2, 20
"""Exponents m of the blocks: 4 to 1,048,576 dimensions."""


class BlockSize(NamedTuple):
    """A code on 2^m coordinates, or the standard basis of `dim`."""

    dim: int
    kind: str
    """hadamard, kerdock, gold, bch, delsarte-goethals or basis."""
    level: int
    """r: all |cosines| are at most 2^−r; 0 where all are 0."""
    lines: int


def block(m: int, level: int) -> BlockSize | None:
    """The largest code known here on 2^m coordinates with |cosines| ≤ 2^−level; None where there
    is none."""
    dim = 2**m
    if m < SMALLEST or m > LARGEST or not 1 <= level <= m // 2:
        return None
    if m % 2:
        terms = (m - 2 * level + 1) // 2
        return BlockSize(dim, "gold" if terms == 1 else "bch", level, 2 ** (m * (terms + 1)))
    if 2 * level == m:
        return BlockSize(dim, "kerdock", level, dim * (dim // 2 + 1))
    return BlockSize(dim, "delsarte-goethals", level, 2 ** ((m - 1) * (m - 2 * level + 2) // 2 + m))


def blocks(dim: int, level: int) -> tuple[BlockSize, ...]:
    """The best code for each binary digit of `dim`, largest first; what has none shares one
    standard basis."""
    candidates = [
        block(m, level) if dim >> m & 1 else None for m in range(dim.bit_length() - 1, -1, -1)
    ]
    codes = tuple(candidate for candidate in candidates if candidate is not None)
    left = dim - sum(code.dim for code in codes)
    return (*codes, BlockSize(left, "basis", 0, left)) if left else codes


def level_of(cos: float) -> int:
    """The smallest r ≥ 1 with 2^−r ≤ cos, for 0 < cos < 1; 2^−r itself is met whatever its last
    bit."""
    return max(1, math.ceil(-math.log2(cos) - 1e-9))


def explicit_lines(dim: int, cos: float) -> int:
    """How many lines with |cosines| ≤ cos the explicit codes give in R^dim, exactly; `dim` where
    they give no more."""
    return sum(code.lines for code in blocks(dim, level_of(cos)))
