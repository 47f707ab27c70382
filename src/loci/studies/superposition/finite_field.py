"""The field GF(2^m) by logarithms: elements are the numbers 0 … 2^m − 1, whose bits are
coefficients; addition is XOR.

x = g^i  ⇔  log x = i mod 2^m − 1        Tr(x) = x + x² + x⁴ + … + x^{2^{m−1}} ∈ {0, 1}, linear in x
"""

from functools import lru_cache

import numpy as np

from loci.errors import SuperpositionError

PRIMITIVE = {
    1: 0b11, 2: 0b111, 3: 0b1011, 4: 0b10011, 5: 0b100101, 6: 0b1000011,
    7: 0b10000011, 8: 0x11D, 9: 0x211, 10: 0x409, 11: 0x805, 12: 0x1053, 13: 0x201B,
    14: 0x4443, 15: 0x8003, 16: 0x1100B, 17: 0x20009, 18: 0x40081, 19: 0x80027, 20: 0x100009,
}  # fmt: skip
"""A polynomial of each degree of which x is a root of the full order 2^m − 1 (a test walks round
each circle)."""


class FiniteField:
    """GF(2^m) with tables of powers, logarithms and traces; m from 1 to 20."""

    def __init__(self, m: int) -> None:
        if m not in PRIMITIVE:
            raise SuperpositionError(
                f"there is no table of GF(2^{m}): m goes from 1 to {max(PRIMITIVE)}"
            )
        self.m, self.order = m, 2**m - 1
        self.exp = np.empty(self.order, dtype=np.int64)
        self.log = np.full(self.order + 1, -1, dtype=np.int64)
        element = 1
        for i in range(self.order):
            self.exp[i], self.log[element] = element, i
            element <<= 1
            if element > self.order:
                element ^= PRIMITIVE[m]
        self.trace_of_power = self._traces()

    def _traces(self) -> np.ndarray:
        """Tr(gⁱ) for all i: the sum of the conjugates g^{i 2^j}."""
        i = np.arange(self.order)
        total = np.zeros(self.order, dtype=np.int64)
        for j in range(self.m):
            total ^= self.exp[i * 2**j % self.order]
        return total.astype(np.uint8)

    def traces(self, factor: int, power: int) -> np.ndarray:
        """Tr(factor · x^power) for all x = 0 … 2^m − 1, as bits."""
        table = np.zeros(self.order + 1, dtype=np.uint8)
        if factor:
            i = self.log[1:] * power + self.log[factor]
            table[1:] = self.trace_of_power[i % self.order]
        return table

    def product(self, a: int, b: int) -> int:
        return int(self.exp[(self.log[a] + self.log[b]) % self.order]) if a and b else 0


@lru_cache(maxsize=8)
def field(m: int) -> FiniteField:
    """The field, made once: a few seconds at m = 20."""
    return FiniteField(m)
