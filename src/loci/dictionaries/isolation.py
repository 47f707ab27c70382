"""RAVEL's question: change one attribute of an entity without touching the others.

    cause       share of bases whose answer to A becomes the source's, when the units chosen for A
                are set to the source's values
    isolation   share of bases whose answer to another attribute B stays what it was

A base and a source are two subjects of one relation A with different answers; the base has a fact
of another relation B. What is set stands in the output of one MLP at the base's last subject token:

    features           y + Σ_(j ∈ S) (f_j source − f_j base) · W_dec[j]
    neurons            a_i base ← a_i source for i ∈ S
    probe              y + P (y source − y base), P: onto the span of a linear probe for A
    random directions  the same, P: onto random directions

Units are chosen on other facts than those that are asked: features and neurons by the share of
their variance that the answer to A explains, less the mean of that share for other attributes. The
probe is a ridge regression of A's answers on y; its strongest directions are taken. `everything`
sets the whole output: it bounds the cause that this place allows. Source: Huang et al. 2024
(RAVEL). Cost: two short runs for each pair, basis and number of units.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.dictionaries.conventions import OpenedDictionary, dictionary_of
from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.interchange import BASES, EVERYTHING, FEWEST, SubjectPlace
from loci.errors import DictionaryError
from loci.facts import Fact, FactSet
from loci.model import Model, by_length
from loci.model.joins import first_token
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, share
from loci.tables import Column, Table

COUNTS = (8, 32, 128)


class Pair(NamedTuple):
    """A base, its fact of another relation, and a source."""

    base: Fact
    other: Fact
    source: Fact


class Isolated(NamedTuple):
    """One basis with one number of units."""

    basis: str
    units: int
    cause: Estimate
    isolation: Estimate

    @property
    def score(self) -> float:
        """The mean of both, as RAVEL's."""
        return (self.cause.value + self.isolation.value) / 2


@dataclass(frozen=True)
class AttributeIsolation(Result):
    """Cause and isolation by basis and number of units."""

    about: ClassVar[About] = About(
        "isolated attributes",
        "Can one attribute of an entity be changed without the others?",
        "Cause: the attribute follows. Isolation: the others stay. Both have to be high.",
    )

    model: str
    target: str
    relations: tuple[str, ...]
    pairs: int
    rows: tuple[Isolated, ...]
    seed: int

    def summary(self) -> tuple[str, ...]:
        best = {
            b: max((r for r in self.rows if r.basis == b), key=lambda r: r.score) for b in BASES
        }
        told = ", ".join(
            f"{basis} {row.cause.value:.0%} and {row.isolation.value:.0%} (with {row.units})"
            for basis, row in best.items()
        )
        return (
            f"Cause and isolation in {self.target} of {self.model}, at the best number of units:"
            f" {told}.",
            f"{self.pairs} pairs of {len(self.relations)} relations; chosen on other facts.",
        )

    def tables(self) -> tuple[Table, ...]:
        columns = (
            Column("basis"),
            Column("units"),
            Column("cause", ".0%"),
            Column("isolation", ".0%"),
            Column("mean of both", ".0%"),
        )
        rows = tuple((r.basis, r.units, r.cause, r.isolation, r.score) for r in self.rows)
        return (Table("One attribute changed, another asked", columns, rows),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.attribute_isolation/1",
            "model": self.model,
            "target": self.target,
            "relations": list(self.relations),
            "pairs": self.pairs,
            "seed": self.seed,
            "rows": [
                {
                    "basis": row.basis,
                    "units": row.units,
                    "cause": row.cause.to_dict(),
                    "isolation": row.isolation.to_dict(),
                }
                for row in self.rows
            ],
        }


@torch.no_grad()
def attribute_isolation(
    model: Model,
    dictionary: Dictionary | OpenedDictionary,
    facts: FactSet,
    *,
    pairs: int = 100,
    counts: Sequence[int] = COUNTS,
    seed: int = 0,
    progress: Progress = silent,
) -> AttributeIsolation:
    """Change one attribute in the output of an MLP, and ask for it and for another.

    Args:
        dictionary: of an MLP's output, as `fact_sparsity` takes it.
        facts: whose subjects have facts of several relations; only known ones are taken.
        pairs: at most so many, spread over the relations.
        counts: numbers of units that are set.

    Raises `DictionaryError` for a dictionary of another place, and where no relation has pairs.
    """
    place = SubjectPlace.of(model, dictionary_of(dictionary))
    first = _known(model, [fact for fact in facts if fact.relation])
    by_relation: dict[str, list[Fact]] = {}
    for fact in first:
        by_relation.setdefault(str(fact.relation), []).append(fact)
    chosen = _pairs(by_relation, first, pairs, seed)
    if not chosen:
        raise DictionaryError(
            "no relation has enough known facts whose subjects have facts of another relation too"
        )
    reads = place.read([f for train, _ in chosen.values() for f in train])
    explained = {
        name: {unit: _explained(place, reads, train, unit) for unit in BASES[:2]}
        for name, (train, _) in chosen.items()
    }
    rows: dict[tuple[str, int], tuple[list[bool], list[bool]]] = {}
    asked = sum(len(some) for _, some in chosen.values())
    for name, (train, some) in chosen.items():
        for basis, count in [*((b, n) for b in BASES for n in counts), (EVERYTHING, 0)]:
            unit = place.selection(basis, count, name, explained, reads, train, seed)
            hits = place.answers(unit, [(p.base, p.source, p.source) for p in some])
            kept = place.answers(unit, [(p.other, p.source, p.other) for p in some])
            both = rows.setdefault((basis, count), ([], []))
            both[0].extend(hits)
            both[1].extend(kept)
        progress(len(some), asked)
    isolated = tuple(
        Isolated(basis, count, share(hits), share(kept))
        for (basis, count), (hits, kept) in rows.items()
    )
    return AttributeIsolation(model.name, place.target, tuple(chosen), asked, isolated, seed)


def _known(model: Model, facts: Sequence[Fact]) -> dict[Fact, int]:
    """Facts whose answer's first token is the likeliest next one, of subjects with several, each
    with that token.
    """
    counts: dict[str, set[str]] = {}
    for fact in facts:
        counts.setdefault(fact.subject, set()).add(str(fact.relation))
    several = [fact for fact in facts if len(counts[fact.subject]) > 1]
    tokens = model.tokenize_all([fact.text for fact in several], model.n_ctx)
    right: dict[int, int] = {}
    for batch in by_length(tokens, len, 4096):
        said = model(model.ids([tokens[i].ids for i in batch]), last=1)[:, -1].argmax(-1).tolist()
        for i, likeliest in zip(batch, said, strict=True):
            if likeliest == first_token(model, several[i].text, several[i].answer):
                right[i] = likeliest
    return {several[i]: right[i] for i in sorted(right)}


def _pairs(
    by_relation: dict[str, list[Fact]], first: dict[Fact, int], most: int, seed: int
) -> dict[str, tuple[list[Fact], list[Pair]]]:
    """For each relation the facts to choose units on, and the pairs to ask."""
    others: dict[str, list[Fact]] = {}
    for facts in by_relation.values():
        for fact in facts:
            others.setdefault(fact.subject, []).append(fact)
    chosen: dict[str, tuple[list[Fact], list[Pair]]] = {}
    for name, facts in sorted(by_relation.items()):
        rng = random.Random(f"{seed} {name}")
        shuffled = rng.sample(facts, len(facts))
        train, test = shuffled[::2], shuffled[1::2]
        if min(len(train), len(test)) < FEWEST:
            continue
        some = []
        for base in test:
            elsewhere = [f for f in others[base.subject] if f.relation != name]
            sources = [f for f in test if first[f] != first[base]]
            if elsewhere and sources:
                some.append(Pair(base, rng.choice(elsewhere), rng.choice(sources)))
        if some:
            chosen[name] = (train, some)
    each = max(1, most // max(1, len(chosen)))
    return {name: (train, some[:each]) for name, (train, some) in chosen.items()}


def _explained(
    place: SubjectPlace, reads: dict[Fact, dict[str, Tensor]], facts: Sequence[Fact], basis: str
) -> Float[Tensor, " unit"]:
    name = "features" if basis == "features" else place.act
    return explained_share(torch.stack([reads[f][name] for f in facts]), [f.answer for f in facts])


def explained_share(
    values: Float[Tensor, "row unit"], labels: Sequence[str]
) -> Float[Tensor, " unit"]:
    """Each unit's η²: the variance between labels over all its variance; 0 where it has none."""
    x = values.double() - values.double().mean(0)
    between = torch.zeros(x.shape[1], dtype=torch.double)
    for label in sorted(set(labels)):
        rows = torch.tensor([other == label for other in labels])
        between += rows.sum() * x[rows].mean(0).square()
    total = x.square().sum(0)
    return torch.where(total > 0, between / total.clamp(min=1e-30), 0.0).float()
