"""Explicit codes: almost-orthogonal lines by index, without holding the set.

    vector (f, a) of a block of d = 2^m:   entries (−1)^{Q_f(x) + ⟨a, x⟩} / √d over all points x
            index = f · d + a
    m odd, x ∈ GF(2^m):                    Q_f(x) = Σ_{i ≤ t} Tr(b_i x^{2^i + 1})
            f = (b_1, …, b_t)
    m even, (x, y) ∈ GF(2^{m−1}) × {0, 1}: Q_f = K_b(x, y) + Σ_{i ≤ s} Tr(c_i x^{2^i + 1})
            f = (b, c_1, …, c_s)
        Kerdock:                           K_b = Σ_{i ≤ (m−2)/2} Tr((b x)^{2^i + 1}) + y Tr(b x)

Two vectors of one form are orthogonal or equal. The cosine of two others is the Walsh transform of
the difference of their forms at the difference of their linear parts: 0 or ±2^{−rank/2}, with the
rank of the difference's alternating form, 2r at least. For odd m that is a count of roots: a linear
combination of the terms has a radical of polynomials x^{2^{2t}}-linearised, of dimension at most 2t
− 1 (m − rank is odd), so rank ≥ m − 2t + 1. Kerdock: m in full. Sources as in `explicit`; Kantor
1982 for the forms K_b.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from loci.errors import SuperpositionError
from loci.studies.superposition.code_counts import (
    LARGEST,
    SMALLEST,
    BlockSize,
    block,
    blocks,
    level_of,
)
from loci.studies.superposition.finite_field import FiniteField, field
from loci.studies.superposition.sphere_caps import check_angle, check_dim, cosine, degrees


@dataclass(frozen=True)
class CodeBlock:
    """The lines of one block."""

    block: BlockSize

    @property
    def m(self) -> int:
        return self.block.dim.bit_length() - 1

    @property
    def signed(self) -> bool:
        """Whether it has vectors of signs, and not the standard basis alone."""
        return self.block.kind != "basis"

    @cached_property
    def field(self) -> FiniteField:
        return field(self.m if self.m % 2 else self.m - 1)

    @property
    def digits(self) -> int:
        """How many elements of the field name a form."""
        if self.block.kind == "hadamard":
            return 0
        return (
            (self.m - 2 * self.block.level + 1) // 2
            if self.m % 2
            else self.m // 2 - self.block.level + 1
        )

    @property
    def forms(self) -> int:
        return int(2 ** (self.digits * self.field.m)) if self.signed else 0

    def elements(self, form: int) -> tuple[int, ...]:
        """The field's elements that name a form: its digits to the base 2^m, or 2^{m−1}."""
        return tuple(form >> self.field.m * i & self.field.order for i in range(self.digits))

    def quadratic(self, elements: tuple[int, ...]) -> UInt8[np.ndarray, " dim"]:
        """Q_f at all points, as bits."""
        own = self.field
        if self.m % 2 or not elements:
            half = self._terms(elements)
            return half if self.m % 2 else np.concatenate([half, half])
        b, *others = elements
        half = self._terms(tuple(others))
        for i in range(1, (own.m - 1) // 2 + 1):
            factor = int(own.exp[own.log[b] * (2**i + 1) % own.order]) if b else 0
            half = half ^ own.traces(factor, 2**i + 1)
        return np.concatenate([half, half ^ own.traces(b, 1)])

    def _terms(self, factors: tuple[int, ...]) -> UInt8[np.ndarray, " points"]:
        total = np.zeros(self.field.order + 1, dtype=np.uint8)
        for i, factor in enumerate(factors, start=1):
            total = total ^ self.field.traces(factor, 2**i + 1)
        return total

    def vector(self, index: int) -> Float[np.ndarray, " dim"]:
        """One unit vector of the block."""
        dim = self.block.dim
        form, linear = divmod(index, dim)
        if form >= self.forms:
            unit = np.zeros(dim)
            unit[index - self.forms * dim] = 1.0
            return unit
        parity = np.bitwise_count(np.arange(dim) & linear) & 1
        bits = self.quadratic(self.elements(form)) ^ parity
        return np.asarray(1 - 2.0 * bits) / math.sqrt(dim)


@dataclass(frozen=True)
class ExplicitCode:
    """Codes on disjoint coordinates of R^dim: the lines of one block are orthogonal to those of
    another."""

    parts: tuple[CodeBlock, ...]

    @property
    def dim(self) -> int:
        return sum(code.block.dim for code in self.parts)

    @property
    def count(self) -> int:
        return sum(code.block.lines for code in self.parts)

    @property
    def coherence(self) -> float:
        """The largest |cosine| of two lines."""
        return max((2.0**-code.block.level for code in self.parts if code.block.level), default=0.0)

    @property
    def angle(self) -> float:
        """Degrees between the nearest two."""
        return degrees(self.coherence)

    def vector(self, index: int) -> Float[np.ndarray, " dim"]:
        """The line with this number, 0 … count − 1, as a unit vector.

        Raises `SuperpositionError`. Cost: O(dim) for each term.
        """
        if not 0 <= index < self.count:
            raise SuperpositionError(
                f"there is no vector {index}: the code has 0 … {self.count - 1:,}"
            )
        entries, start = np.zeros(self.dim), 0
        for code in self.parts:
            if index < code.block.lines:
                entries[start : start + code.block.dim] = code.vector(index)
                break
            index, start = index - code.block.lines, start + code.block.dim
        return entries

    def vectors(self, indices: Sequence[int]) -> Float[Tensor, "vector dim"]:
        return torch.from_numpy(np.stack([self.vector(index) for index in indices]))


def explicit_code(dim: int, angle: float | None = None, kind: str | None = None) -> ExplicitCode:
    """The largest explicit code of R^dim whose lines are all at least `angle` degrees apart.

    Args:
        dim: dimension of the space.
        angle: in degrees; None: the widest angle of any block.
        kind: one family on all of R^dim: hadamard, kerdock, gold, bch or delsarte-goethals.

    Returns: `ExplicitCode`; vectors are made by index, the set is never held.
    Raises: `SuperpositionError` with the nearest code that can be built.
    Source: MacWilliams and Sloane 1977.
    """
    dim = check_dim(dim)
    level = (dim.bit_length() - 1) // 2 if angle is None else level_of(cosine(check_angle(angle)))
    if kind is not None:
        return ExplicitCode((CodeBlock(_of_kind(dim, kind, None if angle is None else level)),))
    if level == 0 or level > (dim.bit_length() - 1) // 2:
        raise SuperpositionError(_too_fine(dim, angle, level))
    return ExplicitCode(tuple(CodeBlock(size) for size in blocks(dim, level)))


def _too_fine(dim: int, angle: float | None, level: int) -> str:
    if level == 0:
        return f"R^{dim} is too small for an explicit code: 4 dimensions are the fewest"
    widest = max(1, (dim.bit_length() - 1) // 2)
    return (
        f"no explicit code here keeps R^{dim}'s lines {angle:g}° apart: the nearest is "
        f"{degrees(2.0**-widest):.3f}° "
        f"in R^{dim} (--angle {math.floor(degrees(2.0**-widest) + 1e-9)}), or {4**level:,} "
        "dimensions for this angle"
    )


def _of_kind(dim: int, kind: str, level: int | None) -> BlockSize:
    m = dim.bit_length() - 1
    odd = kind in ("gold", "bch")
    if kind not in ("hadamard", "kerdock", "gold", "bch", "delsarte-goethals"):
        raise SuperpositionError(
            f"there is no family {kind!r}: expected hadamard, kerdock, gold, bch or "
            "delsarte-goethals"
        )
    fits = [
        e
        for e in range(SMALLEST, LARGEST)
        if kind == "hadamard" or (e % 2 == odd and e >= _fewest(kind))
    ]
    if dim != 2**m or m not in fits:
        near = sorted(sorted(fits, key=lambda e: abs(e - math.log2(dim)))[:2])
        raise SuperpositionError(
            f"no {kind} code has {dim} dimensions: the nearest have "
            f"{' and '.join(f'{2**e:,}' for e in near)}"
        )
    if kind == "hadamard":
        return BlockSize(dim, "hadamard", 0, dim)
    single = kind in ("kerdock", "gold")
    usual = m // 2 - (not single)
    size = block(m, usual if level is None or single else level)
    if size is None or size.kind != kind or (level or 0) > size.level:
        raise SuperpositionError(
            f"in {dim} dimensions a {kind} code keeps {degrees(2.0**-usual):.3f}° apart: leave "
            "--angle out"
        )
    return size


def _fewest(kind: str) -> int:
    return {"kerdock": 2, "gold": 3, "bch": 5, "delsarte-goethals": 4}[kind]
