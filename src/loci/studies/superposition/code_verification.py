"""Are the cosines of a code what its construction promises? All pairs where that can be done,
classes of them, or a sample.

    cosines of all vectors of two forms = Walsh transform of (−1)^{Q_f + Q_g} / d
            d log d for d² pairs

x → c x permutes the coordinates and takes each form to another, so pairs of forms come in classes
with the same cosines, and one of each class is enough: for odd m, forms whose first coefficient
that is not 0 is 1; for even m, K_1 + K_b with every c. Where even the classes are too many, a
seeded sample of them is transformed, and the rest is held by the rank argument in `codes`. The
linear parts of one form, the standard basis (cosines 2^{−m/2} with signs) and blocks on disjoint
coordinates need no computing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, product
from random import Random
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int32, UInt8

from loci.progress import Progress, silent
from loci.result import About, Result
from loci.studies.superposition.codes import CodeBlock, ExplicitCode, explicit_code
from loci.studies.superposition.levenshtein import levenshtein_lines
from loci.tables import Table, columns

WORK = 1_200_000_000
"""Additions beyond which classes are sampled: some ten seconds."""
SETUP = 200_000
"""Additions that making two forms costs as much as."""
SAMPLES = 200


@dataclass(frozen=True)
class BlockCheck:
    """The pairs checked in one block, and the largest |cosine| found there."""

    dim: int
    kind: str
    lines: int
    promised: float
    found: float
    classes: int
    """Classes of pairs of forms."""
    looked_at: int

    @property
    def complete(self) -> bool:
        """Whether the transforms cover all pairs of lines."""
        return self.looked_at == self.classes

    @property
    def holds(self) -> bool:
        return self.found <= self.promised

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {
            "complete": self.complete,
            "holds": self.holds,
            "lines": str(self.lines),
            "classes": str(self.classes),
        }


@dataclass(frozen=True)
class VerifiedCode(Result):
    """A code and its verification."""

    about: ClassVar[About] = About(
        "an explicit code",
        "Directions that can be written down.",
        "What the code promises, and what verification found.",
        "bounds.built_figure",
    )

    codes: ExplicitCode
    verified: tuple[BlockCheck, ...]
    limit: float
    """log₁₀ of Levenshtein's bound on lines at the code's angle."""

    def title(self) -> str:
        own = self.codes
        return (
            f"{own.count:,} lines of R^{own.dim:,}, at least {own.angle:.4f}° apart (|cosine| ≤"
            f" {own.coherence:g})"
        )

    def summary(self) -> tuple[str, ...]:
        reached = math.log10(self.codes.count)
        met = ": met, so no set of lines is larger" * (abs(self.limit - reached) < 1e-9)
        return (f"log₁₀: {reached:.4f}; Levenshtein's bound at this angle {self.limit:.4f}{met}",)

    def tables(self) -> tuple[Table, ...]:
        rows = []
        for own in self.verified:
            sampled = (
                f"{own.looked_at:,} of {own.classes:,} classes of pairs sampled; the rest by its"
                " rank"
            )
            how = "all pairs" if own.complete else sampled
            rows.append((own.kind, own.dim, own.lines, own.promised, own.found, how))
        heads = ("code", "dimensions", "lines", "cosine promised", "found", "verified")
        return (Table("Codes", columns(*heads), tuple(rows)),)

    def to_dict(self) -> dict[str, Any]:
        own = self.codes
        head = {
            "dim": own.dim,
            "count": str(own.count),
            "log10_count": math.log10(own.count),
            "angle": own.angle,
            "coherence": own.coherence,
        }
        parts = {
            "log10_levenshtein_lines": self.limit,
            "verified": [check.to_dict() for check in self.verified],
        }
        return {"schema": "loci.superposition_code/1", **head, **parts}


def built(
    dim: int,
    angle: float | None = None,
    kind: str | None = None,
    *,
    work: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> VerifiedCode:
    """Build an explicit code, verify it, and set it beside the bound at its angle.

    Args:
        dim: dimension of the space.
        angle: least angle between lines, in degrees; None: the widest of any block.
        kind: one family; None: the largest.
        work: most additions for each block before pairs are sampled.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `VerifiedCode`.
    Raises: `SuperpositionError` with the nearest code that can be built.
    """
    codes = explicit_code(dim, angle, kind)
    checked = verify(codes, work=work or WORK, seed=seed, progress=progress)
    limit = levenshtein_lines(codes.dim, codes.angle) if codes.coherence else math.log10(codes.dim)
    return VerifiedCode(codes, checked, limit)


def verify(
    codes: ExplicitCode, *, work: int = WORK, seed: int = 0, progress: Progress = silent
) -> tuple[BlockCheck, ...]:
    """Check the coherence of every block of a code, exactly, in integers.

    Args:
        codes: from `explicit_code`.
        work: most additions for each block before classes of pairs are sampled.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: A `BlockCheck` for each block.
    """
    return tuple(_verified(code, work, seed, progress) for code in codes.parts)


def _verified(code: CodeBlock, work: int, seed: int, progress: Progress) -> BlockCheck:
    own = code.block
    classes = _class_count(code)
    every = classes * (own.dim * code.m + SETUP) <= work
    looked_at = classes if every else min(classes, SAMPLES)
    chosen = _classes(code) if every else _sampled(code, looked_at, Random(seed))
    largest = 0
    while some := list(islice(chosen, max(1, 2**20 // own.dim))):
        bits = np.stack([_difference(code, pair) for pair in some])
        largest = max(largest, int(np.abs(walsh(1 - 2 * bits.astype(np.int32))).max()))
        progress(len(some), looked_at)
    basis = own.lines > code.forms * own.dim and code.signed
    coherence = max(largest / own.dim, own.dim**-0.5 if basis else 0.0)
    return BlockCheck(
        own.dim,
        own.kind,
        own.lines,
        2.0**-own.level if own.level else 0.0,
        coherence,
        classes,
        looked_at,
    )


def walsh(rows: Int32[np.ndarray, "row dim"]) -> Int32[np.ndarray, "row dim"]:
    """Σ_x rows[x] (−1)^{⟨a, x⟩} for all a, by the fast transform."""
    count, dim = rows.shape
    half = 1
    while half < dim:
        pairs = rows.reshape(count, -1, 2, half)
        rows = np.stack(
            [pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2
        ).reshape(count, dim)
        half *= 2
    return rows


# classes of pairs of forms ----------------------------------------------------------------

Pair = tuple[tuple[int, ...], tuple[int, ...]]


def _class_count(code: CodeBlock) -> int:
    if code.digits == 0 or not code.signed:
        return 0
    size = code.field.order + 1
    if code.m % 2:
        return int(sum(size**i for i in range(code.digits)))
    return int(
        (size - 1) * size ** (code.digits - 1) + sum(size**i for i in range(code.digits - 1))
    )


def _classes(code: CodeBlock) -> Iterator[Pair]:
    """One pair of forms of each class."""
    digits, elements = code.digits, range(code.field.order + 1)
    if digits == 0 or not code.signed:
        return iter(())
    zero = (0,) * digits
    if code.m % 2:
        return ((zero, form) for form in _leading(digits, elements))
    same = ((zero, (0, *rest)) for rest in _leading(digits - 1, elements))
    others = (
        ((1, *zero[1:]), (b, *rest))
        for b in elements
        if b != 1
        for rest in product(elements, repeat=digits - 1)
    )
    return chain(same, others)


def _leading(digits: int, elements: range) -> Iterator[tuple[int, ...]]:
    """All tuples whose first entry that is not 0 is 1."""
    for zeros in range(digits):
        for rest in product(elements, repeat=digits - zeros - 1):
            yield (0,) * zeros + (1, *rest)


def _sampled(code: CodeBlock, count: int, random: Random) -> Iterator[Pair]:
    """Pairs of different forms, drawn evenly."""
    for _ in range(count):
        first, apart = random.randrange(code.forms), random.randrange(1, code.forms)
        yield code.elements(first), code.elements((first + apart) % code.forms)


def _difference(code: CodeBlock, pair: Pair) -> UInt8[np.ndarray, " dim"]:
    bits: UInt8[np.ndarray, " dim"] = code.quadratic(pair[0]) ^ code.quadratic(pair[1])
    return bits
