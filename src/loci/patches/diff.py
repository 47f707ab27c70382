"""Differences between two patches of one base, or between two checkpoints of one architecture.

    ΔW = W' − W,  in float64, parameter by parameter; its rank counts the singular values above what
                  rounding alone would give,

    σ > maxᵢ (Σⱼ sᵢⱼ²)^½ + maxⱼ (Σᵢ sᵢⱼ²)^½  s = u |W'| / √12: error of rounding to the dtype, u its
                                             spacing at 1

(the norm of a random matrix with such entries: Bandeira and van Handel 2016). Checkpoints are read
a parameter at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import PatchError
from loci.linalg import by_smaller_side
from loci.model import Weights
from loci.patches.extras import Extras, extras_of
from loci.patches.factors import Factors, cosine, distance
from loci.patches.patch import Patch
from loci.patches.places import named_parameters, patchable
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.tables import Table, columns

ROUNDING = 1e-6
"""Of float32 factors, relative to the change."""


class WeightDifference(NamedTuple):
    """How one weight differs."""

    name: str
    """As in a patch (`W_down.3`) where patches can hold it, else the parameter's own name."""
    norm: float
    """‖W' − W‖, Frobenius; of two patches ‖Δ₂ − Δ₁‖."""
    share: float
    """The norm relative to ‖W‖; of two patches to ‖Δ₁‖."""
    rank: int
    cosine: float | None
    """Of two patches: ⟨Δ₁, Δ₂⟩ / ‖Δ₁‖‖Δ₂‖."""


@dataclass(frozen=True)
class Difference(Result):
    """The difference between `first` and `second`; weights that are equal are left out."""

    about: ClassVar[About] = About(
        "a difference",
        "What differs between two patches or checkpoints?",
    )

    first: str
    second: str
    same_base: bool
    """Of two patches: whether they were made on the same weights. Of two checkpoints: whether all
    their tensors are equal.
    """
    changes: tuple[WeightDifference, ...]
    facts: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Of two patches: the edits that only the first makes, and those that only the second does."""
    extras: Extras = field(default_factory=Extras)
    """Of two checkpoints: other tensors and files on one side only, or not the same."""

    def title(self) -> str:
        return f"{self.first} and {self.second}"

    def summary(self) -> tuple[str, ...]:
        patches = any(own.cosine is not None for own in self.changes)
        return (
            *(("no weight differs",) if not self.changes else ()),
            *self.extras.lines(self.first, self.second),
            *(
                ("made on different bases: they cannot be merged",)
                if patches and not self.same_base
                else ()
            ),
        )

    def tables(self) -> tuple[Table, ...]:
        heads = ["weight", "norm|.4g", "relative|.2%", "rank"]
        patches = any(own.cosine is not None for own in self.changes)
        changes = tuple(
            (own.name, own.norm, own.share, own.rank, *((own.cosine,) if patches else ()))
            for own in self.changes
        )
        facts = tuple(
            (sign, text) for sign, own in zip("<>", self.facts, strict=True) for text in own
        )
        shown = columns(*heads, *(["cosine|.3f"] if patches else []))
        return (
            *([Table("Weights", shown, changes, shown=50)] if changes else []),
            *([Table("Facts", columns("", "fact"), facts, shown=40)] if facts else []),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.patch_diff/1",
            "first": self.first,
            "second": self.second,
            "same_base": self.same_base,
            "weights": [change._asdict() for change in self.changes],
            "only_first": list(self.facts[0]),
            "only_second": list(self.facts[1]),
            "extras": self.extras.to_dict(),
        }


def diff_patches(first: Patch, second: Patch) -> Difference:
    """How two patches differ, weight by weight; without dense products."""
    for patch in (first, second):
        patch.check_factors_only("compared")
    changes = []
    for name in sorted(first.factors.keys() | second.factors.keys()):
        a, b = (patch.factors.get(name) for patch in (first, second))
        if a and b and a.shape != b.shape:
            raise PatchError(
                f"{name} is {a.shape} in the first patch and {b.shape} in the second: not of one"
                " architecture"
            )
        change = _between(name, a or _nothing(b), b or _nothing(a))
        if change.rank:
            changes.append(change)
    edits = [
        {f"{fact.text} → {fact.new_answer}": None for fact in patch.facts}
        for patch in (first, second)
    ]
    only = tuple(tuple(text for text in edits[i] if text not in edits[1 - i]) for i in (0, 1))
    return Difference(
        first.id, second.id, first.base == second.base, tuple(changes), (only[0], only[1])
    )


def _between(name: str, a: Factors, b: Factors) -> WeightDifference:
    both = Factors(torch.cat([b.left, -a.left], 1), torch.cat([b.right, a.right]))
    S = both.singular_values
    norm = float(S.norm())
    return WeightDifference(
        name, norm, distance(a, b), int((1e-6 * max(a.norm, b.norm) < S).sum()), cosine(a, b)
    )


def _nothing(like: Factors | None) -> Factors:
    assert like is not None
    return Factors(torch.zeros_like(like.left[:, :1]), torch.zeros_like(like.right[:1]))


def diff_models(base: Weights, edited: Weights, *, progress: Progress = silent) -> Difference:
    """How two checkpoints differ. Raises `PatchError` where they are not of one architecture."""
    changes = []
    for name, before, after in pairs(base, edited, progress):
        delta = after.double() - before.double()
        norm = float(delta.norm())
        changes.append(
            WeightDifference(
                name, norm, norm / (float(before.double().norm()) or 1.0), _rank(delta, after), None
            )
        )
    other = extras_of(base, edited)
    return Difference(
        base.name, edited.name, not changes and not other.tensors, tuple(changes), extras=other
    )


def patch_between(
    base: Weights,
    edited: Weights,
    *,
    rank: int | None = None,
    partial: bool = False,
    progress: Progress = silent,
) -> Patch:
    """The patch that makes `edited` of `base`, by truncated singular value decompositions.

    `rank` None: for each weight as many singular values as stand out of rounding.
    `numbers["error"]` is ‖ΔW − LR‖ / ‖ΔW‖ by weight.
    Raises `PatchError` where nothing differs, where what differs is no weight that a patch can hold
    (with `partial` that is left out, and listed in `numbers["left_out"]`), and where a weight holds
    NaN. Cost: an eigendecomposition of the smaller side a weight.
    """
    if rank is not None and rank < 1:
        raise PatchError(f"a rank is 1 or more, not {rank}")
    factors, errors, left_out = {}, {}, []
    for name, before, after in pairs(base, edited, progress):
        if not patchable(name):
            left_out.append(name)
            continue
        delta = after.double() - before.double()
        nearest = _nearest(delta, _rank(delta, after) if rank is None else rank)
        factors[name], errors[name] = nearest, float((delta - nearest.delta).norm() / delta.norm())
    if left_out and not partial:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        raise PatchError(
            f"a patch holds MLP weights alone, and here {', '.join(left_out[:3])}{more} differ too:"
            " say partial=True (--partial) to leave them out"
        )
    if not factors:
        raise PatchError(
            f"{base.name!r} and {edited.name!r} have the same MLP weights: there is nothing to make"
            " a patch of"
        )
    numbers = {
        "edited": edited.fingerprint,
        "edited_name": edited.name,
        "error": errors,
        "left_out": left_out,
    }
    return Patch("diff", base.fingerprint, base.name, factors, (), numbers)


def pairs(
    base: Weights, edited: Weights, progress: Progress = silent
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, weight before and weight after, [out, in] or as they are, of all that differ. Raises
    `PatchError`.
    """
    before, after = named_parameters(base), named_parameters(edited)
    if before.keys() != after.keys() or any(
        before[name].shape != after[name].shape for name in before
    ):
        raise PatchError(
            f"{base.name!r} and {edited.name!r} are not of one architecture: their weights have"
            " other names or shapes"
        )
    for name, entry in before.items():
        a, b = entry.read(), after[name].read()
        progress(1, len(before))
        if not (a.isfinite().all() and b.isfinite().all()):
            raise PatchError(
                f"{name} holds NaN or infinite numbers in {base.name!r} or {edited.name!r}"
            )
        if not torch.equal(a.double(), b.double()):
            yield name, a, b


def rounding(weight: Float[Tensor, "out in"]) -> float:
    """The largest singular value to expect of the errors of rounding a weight to its dtype."""
    squares = (torch.finfo(weight.dtype).eps * weight.double()).square() / 12
    return float(squares.sum(0).max().sqrt() + squares.sum(1).max().sqrt())


def _rank(delta: Float[Tensor, "out in"], stored: Tensor) -> int:
    """Singular values that rounding does not explain; 1 at least, and for a vector."""
    if delta.ndim != 2:
        return 1
    return max(1, int((by_smaller_side(delta)[0] > rounding(stored)).sum()))


def _nearest(delta: Float[Tensor, "out in"], rank: int) -> Factors:
    vectors = by_smaller_side(delta)[1][:, :rank]
    if delta.shape[0] <= delta.shape[1]:
        return Factors(vectors.float(), (vectors.T @ delta).float())
    return Factors((delta @ vectors).float(), vectors.T.contiguous().float())
