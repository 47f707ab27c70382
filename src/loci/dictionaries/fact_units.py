"""Does a fact live in few features? How many of them carry half of the causal trace's effect.

    effect(S) = P(answer | subject corrupted, the units of S as in the clean run)
                − P(answer | subject corrupted)

Units are restored at the subject's last token, in the output of one MLP: y + Σ_(i ∈ S) Δ_i, with

    features           Δ_j = (f_j clean − f_j corrupted) · W_dec[j]
    neurons            Δ_i = (a_i clean − a_i corrupted) · W_down[:, i]    (behind the norm, if any)
    random directions  Δ_i = q_i · q_iᵀ (y clean − y corrupted)            q: orthonormal, random

Each basis is ranked by its own integrated gradients from the corrupted to the clean output, and the
smallest number of units is found whose effect is half of what the whole clean output gives. All
bases are asked the same question with the same noise. Features leave an error: where all of them
together do not reach half, no number does. Cost: some sixty replays from that layer for each fact
and basis, times the draws of noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from loci.dictionaries.conventions import OpenedDictionary, dictionary_of
from loci.dictionaries.dictionary import MLP_OUTPUTS, Dictionary, mlp_output
from loci.dictionaries.subject_output import FEW, LEAST, FactUnits, SubjectOutput
from loci.facts import Fact
from loci.locating.corruption import Corruption
from loci.locating.runs import prepare
from loci.model import Model
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean, median, share
from loci.tables import Column, Table

BASES = ("features", "neurons", "random directions")


@dataclass(frozen=True)
class FactSparsity(Result):
    """How many units carry half of the trace's effect, by basis."""

    about: ClassVar[About] = About(
        "facts in features",
        "How many features carry half of a fact's effect at the subject?",
        "Medians over facts, beside single neurons and random directions; fewer is sparser.",
        "fact_sparsity.fact_sparsity_figure",
    )

    model: str
    point: str
    target: str
    features: int
    facts: int
    """That were asked."""
    rows: tuple[FactUnits, ...]
    """Of the facts whose whole effect is `LEAST` at least, a row a basis."""
    samples: int
    seed: int

    @property
    def taken(self) -> int:
        """Facts that were taken apart."""
        return len(self.rows) // len(BASES)

    def of(self, basis: str) -> list[FactUnits]:
        return [row for row in self.rows if row.basis == basis]

    def needed(self, basis: str) -> Estimate:
        """The median number of units; facts that no number serves count as infinitely many."""
        rows = self.of(basis)
        counts = [math.inf if row.needed is None else float(row.needed) for row in rows]
        return median(counts) if all(map(math.isfinite, counts)) else _median(counts)

    def few(self, basis: str) -> Estimate:
        """Share of facts that `FEW` units or fewer serve."""
        return share([row.needed is not None and row.needed <= FEW for row in self.of(basis)])

    def together(self, basis: str) -> Estimate:
        return mean([row.together for row in self.of(basis)])

    def summary(self) -> tuple[str, ...]:
        if not self.rows:
            return (
                f"No fact of {self.facts} has an effect of {LEAST} at {self.target} in"
                f" {self.model}: they do not live there.",
            )
        told = ", ".join(f"{self.needed(basis).told('.0f')} {basis}" for basis in BASES)
        return (
            f"Half of the trace's effect at the subject's last token, through {self.target} of"
            f" {self.model}: the median fact needs {told}.",
            f"{self.taken} of {self.facts} facts have an effect of {LEAST} at least there.",
        )

    def tables(self) -> tuple[Table, ...]:
        columns = (
            Column("basis"),
            Column("units for half (median)", ".0f"),
            Column(f"facts that {FEW} serve", ".0%"),
            Column("units that differ", ".0f"),
            Column("effect of all together", ".0%"),
        )
        rows = tuple(
            (
                basis,
                self.needed(basis),
                self.few(basis),
                median([float(row.differ) for row in self.of(basis)]),
                self.together(basis),
            )
            for basis in (BASES if self.rows else ())
        )
        return (Table("Units that carry half of a fact's effect", columns, rows),)

    def to_dict(self) -> dict[str, Any]:
        names = ("model", "point", "target", "features", "facts", "samples", "seed")
        return {
            "schema": "loci.fact_sparsity/1",
            **{name: getattr(self, name) for name in names},
            "taken": self.taken,
            "bases": {
                basis: {
                    "needed": self.needed(basis).to_dict(),
                    "few": self.few(basis).to_dict(),
                    "together": self.together(basis).to_dict(),
                }
                for basis in (BASES if self.rows else ())
            },
            "rows": [{**row._asdict(), "top": list(row.top)} for row in self.rows],
        }


def _median(values: Sequence[float]) -> Estimate:
    """The median where some values are infinite, with the order statistics of its 95 % interval."""
    ordered, n = sorted(values), len(values)
    reach = 1.96 * math.sqrt(n) / 2
    low, high = max(0, math.floor(n / 2 - reach)), min(n - 1, math.ceil(n / 2 + reach))
    return Estimate(ordered[(n - 1) // 2], ordered[low], ordered[high], n)


def fact_sparsity(
    model: Model,
    dictionary: Dictionary | OpenedDictionary,
    facts: Sequence[Fact],
    *,
    samples: int = 5,
    noise: float = 3.0,
    seed: int = 0,
    progress: Progress = silent,
) -> FactSparsity:
    """Count the units that carry half of each fact's effect at the subject's last token.

        loci.dictionaries.fact_sparsity(model, load_dictionary("demo:mlp_out.0"), facts).summary()

    Args:
        dictionary: of an MLP's output (an autoencoder of mlp_out.L, or a transcoder to it).
        facts: with subjects; those with an effect below 0.1 are counted and left out.
        samples, noise: of the corruption, as in `trace`.

    Raises `DictionaryError` for a dictionary of another place. Cost: about a second a fact on the
    embedded model.
    """
    d = dictionary_of(dictionary)
    # behind a norm the raw output is not what the stream gains; experts have no neurons to compare
    stems = () if model.n_experts else MLP_OUTPUTS[: 1 if model.layout.mlp_post else 2]
    target, layer = mlp_output(d, "facts are taken apart", stems)
    rows: list[FactUnits] = []
    for fact in facts:
        place = SubjectOutput(
            prepare(model, fact, Corruption("noise", noise, samples, seed)), layer, d, seed
        )
        if place.effect >= LEAST:
            rows += [place.counted(basis) for basis in BASES]
        progress(1, len(facts))
    return FactSparsity(
        model.name, d.point or target, target, d.features, len(facts), tuple(rows), samples, seed
    )
