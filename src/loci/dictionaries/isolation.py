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
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.dictionaries.conventions import OpenedDictionary
from loci.dictionaries.dictionary import Dictionary
from loci.errors import DictionaryError
from loci.facts import Fact, FactSet, token_span
from loci.model import Edit, Model, by_length
from loci.model.answers import with_answer
from loci.progress import Progress, silent
from loci.result import Result
from loci.stats import Estimate, share
from loci.tables import Column, Table

COUNTS = (8, 32, 128)
BASES = ("features", "neurons", "probe", "random directions")
EVERYTHING = "everything"
RIDGE, FEWEST = 1e-2, 8
"""The probe's penalty, as a share of the mean variance; facts on either side of a relation."""


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
    d = dictionary.dictionary if isinstance(dictionary, OpenedDictionary) else dictionary
    place = _Place.of(model, d)
    known = _known(model, [fact for fact in facts if fact.relation])
    first = {fact: _first(model, fact) for fact in known}
    by_relation: dict[str, list[Fact]] = {}
    for fact in known:
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
    found = tuple(
        Isolated(basis, count, share(hits), share(kept))
        for (basis, count), (hits, kept) in rows.items()
    )
    return AttributeIsolation(model.name, place.target, tuple(chosen), asked, found, seed)


def _known(model: Model, facts: Sequence[Fact]) -> list[Fact]:
    """Facts whose answer's first token is the likeliest next one, of subjects with several."""
    counts: dict[str, set[str]] = {}
    for fact in facts:
        counts.setdefault(fact.subject, set()).add(str(fact.relation))
    several = [fact for fact in facts if len(counts[fact.subject]) > 1]
    tokens = model.tokenize_all([fact.text for fact in several], model.n_ctx)
    right: list[int] = []
    for batch in by_length(tokens, len, 4096):
        said = model(model.ids([tokens[i].ids for i in batch]), last=1)[:, -1].argmax(-1).tolist()
        right += [i for i, s in zip(batch, said, strict=True) if s == _first(model, several[i])]
    return [several[i] for i in sorted(right)]


def _first(model: Model, fact: Fact) -> int:
    tokens, (start, _) = with_answer(model, fact.text, fact.answer)
    return tokens.ids[start]


def _pairs(
    by_relation: dict[str, list[Fact]], first: dict[Fact, int], most: int, seed: int
) -> dict[str, tuple[list[Fact], list[Pair]]]:
    """For each relation the facts to choose units on, and the pairs to ask."""
    others: dict[str, list[Fact]] = {}
    for facts in by_relation.values():
        for fact in facts:
            others.setdefault(fact.subject, []).append(fact)
    found: dict[str, tuple[list[Fact], list[Pair]]] = {}
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
            found[name] = (train, some)
    each = max(1, most // max(1, len(found)))
    return {name: (train, some[:each]) for name, (train, some) in found.items()}


Selection = tuple[str, Tensor]
"""What is set: "units" and a mask of features, "act" and a mask of neurons, "span" and a
projection [d, d]."""


@dataclass(frozen=True)
class _Place:
    """The output of one MLP at subjects' last tokens."""

    model: Model
    dictionary: Dictionary
    point: str
    target: str
    act: str

    @classmethod
    def of(cls, model: Model, d: Dictionary) -> "_Place":
        target = d.target or d.point or ""
        stem, _, layer = target.partition(".")
        if stem not in ("mlp_out", "mlp_raw") or model.n_experts:
            raise DictionaryError(
                "attributes are changed in an MLP's output, as mlp_out.0; this dictionary gives"
                f" {target or 'no point that it names'}"
            )
        return cls(model, d, d.point or target, target, f"mlp_act.{layer}")

    def read(self, facts: Sequence[Fact]) -> dict[Fact, dict[str, Tensor]]:
        """Input, output, neurons and features at each fact's last subject token."""
        found: dict[Fact, dict[str, Tensor]] = {}
        unread = list(dict.fromkeys(facts))
        tokens = self.model.tokenize_all([fact.text for fact in unread], self.model.n_ctx)
        for batch in by_length(tokens, len, 4096):
            ids = self.model.ids([tokens[i].ids for i in batch])
            at = self.model.read(ids, *{self.point, self.target, self.act})
            for row, i in enumerate(batch):
                end = token_span(tokens[i].offsets, unread[i].subject_span)[1] - 1
                own = {name: at[name][row, end].float() for name in at}
                own["features"] = self.dictionary.encode(own[self.point])
                found[unread[i]] = own
        return found

    def selection(
        self,
        basis: str,
        count: int,
        relation: str,
        explained: dict[str, dict[str, Tensor]],
        reads: dict[Fact, dict[str, Tensor]],
        train: Sequence[Fact],
        seed: int,
    ) -> Selection:
        """What is set for one attribute."""
        d = self.dictionary.d_out
        if basis == EVERYTHING:
            return "span", torch.eye(d)
        if basis in BASES[:2]:
            own = explained[relation][basis]
            rest = [e[basis] for name, e in explained.items() if name != relation]
            scores = own - (torch.stack(rest).mean(0) if rest else 0.0)
            mask = torch.zeros(len(own))
            mask[scores.topk(min(count, len(own))).indices] = 1.0
            return ("units" if basis == "features" else "act"), mask
        if basis == "probe":
            directions = probe_directions(
                torch.stack([reads[f][self.target] for f in train]), [f.answer for f in train]
            )[:, :count]
        else:
            generator = torch.Generator().manual_seed(seed)
            square = torch.randn(d, d, generator=generator, dtype=torch.double)
            directions = torch.linalg.qr(square)[0].float()[:, :count]
        return "span", directions @ directions.T

    def answers(self, chosen: Selection, asked: Sequence[tuple[Fact, Fact, Fact]]) -> list[bool]:
        """For each (fact asked, source, fact whose answer counts): whether that answer is said."""
        sources = self.read([source for _, source, _ in asked])
        tokens = self.model.tokenize_all([fact.text for fact, _, _ in asked], self.model.n_ctx)
        found = [False] * len(asked)
        for batch in by_length(tokens, len, 4096):
            ends = torch.tensor(
                [token_span(tokens[i].offsets, asked[i][0].subject_span)[1] - 1 for i in batch]
            )
            values = {
                name: torch.stack([sources[asked[i][1]][name] for i in batch])
                for name in (self.target, self.act, "features")
            }
            with self.model.patched(self._edits(chosen, torch.arange(len(batch)), ends, values)):
                ids = self.model.ids([tokens[i].ids for i in batch])
                said = self.model(ids, last=1)[:, -1].argmax(-1).tolist()
            for i, s in zip(batch, said, strict=True):
                found[i] = s == self._due(asked[i][0], asked[i][2])
        return found

    def _due(self, fact: Fact, counted: Fact) -> int:
        """The first token of the answer that counts, behind the prompt that is asked."""
        tokens, (start, _) = with_answer(self.model, fact.text, counted.answer)
        return tokens.ids[start]

    def _edits(
        self, chosen: Selection, rows: Tensor, ends: Tensor, values: dict[str, Tensor]
    ) -> dict[str, Edit]:
        kind, what = chosen
        if kind == "act":

            def set_neurons(old: Tensor) -> Tensor:
                new = old.clone()
                own = new[rows, ends]
                new[rows, ends] = torch.where(what.bool(), values[self.act].to(own), own)
                return new

            return {self.act: set_neurons}
        if kind == "span":

            def project(old: Tensor) -> Tensor:
                new = old.clone()
                own = new[rows, ends]
                new[rows, ends] = own + (values[self.target].to(own) - own) @ what.to(own)
                return new

            return {self.target: project}
        seen: list[Tensor] = []

        def keep(x: Tensor) -> None:
            seen[:] = [x[rows, ends].float()]

        def set_features(old: Tensor) -> Tensor:
            new = old.clone()
            x = seen[0] if self.point != self.target else old[rows, ends].float()
            change = (values["features"] - self.dictionary.encode(x)) * what
            new[rows, ends] += (change @ self.dictionary.W_dec).to(new)
            return new

        own: dict[str, Edit] = {self.target: set_features}
        return own if self.point == self.target else {self.point: keep, **own}


def _explained(
    place: _Place, reads: dict[Fact, dict[str, Tensor]], facts: Sequence[Fact], basis: str
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


def probe_directions(
    y: Float[Tensor, "row d"], labels: Sequence[str]
) -> Float[Tensor, "d direction"]:
    """The span of a ridge probe for the labels: orthonormal, the strongest direction first."""
    names = sorted(set(labels))
    x = y.double() - y.double().mean(0)
    marks = torch.tensor([[float(label == name) for name in names] for label in labels]).double()
    gram = x.T @ x
    penalty = RIDGE * float(gram.diagonal().mean()) * torch.eye(len(gram), dtype=torch.double)
    weights = torch.linalg.solve(gram + penalty, x.T @ (marks - marks.mean(0)))
    left, sizes, _ = torch.linalg.svd(weights, full_matrices=False)
    found: Tensor = left[:, sizes > 1e-9 * sizes.max().clamp(min=1e-30)].float()
    return found
