"""Does a dictionary find features that are known? Synthetic superposition, and any model whose
directions are known.

    x = Σ_i on_i · size_i · d_i        d_i: known unit directions, more of them than dimensions

Every fourth feature is a child: it is on only where its parent is (hierarchy). Every other pair of
the rest is correlated: where one is on, the other is on half of the time. What can go wrong has
names:

    splitting   several dictionary features stand for one
    absorption  a parent's feature stays off where the child's is on, because the child's has taken
                its part (Chanin et al. 2024)
    hedging     a feature takes up a part of one that it is correlated with (Chanin et al. 2025)
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from loci.dictionaries.dictionary import Dictionary
from loci.result import About, Result
from loci.tables import Table, columns

SAME = 0.9
SPLIT = 0.7
"""Cosines from which on a feature is a true one's, and from which on it is a part of it."""


@dataclass(frozen=True)
class SyntheticWorld:
    """Known features: directions, how often each is on, and who belongs to whom."""

    directions: Float[Tensor, "feature d"]
    rates: Float[Tensor, " feature"]
    children: tuple[tuple[int, int], ...]
    """(parent, child)."""
    pairs: tuple[tuple[int, int], ...]
    """(leader, follower): correlated, and neither implies the other."""

    @classmethod
    def drawn(
        cls, features: int = 64, d: int = 32, on: float = 3.0, seed: int = 0
    ) -> "SyntheticWorld":
        """About `on` features are on at a token; rates fall as 1 / √rank."""
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(features, d, generator=generator)
        rates = 1 / torch.arange(1, features + 1).float().sqrt()
        groups = range(0, features - 3, 4)
        return cls(
            directions / directions.norm(dim=1, keepdim=True),
            (on * rates / rates.sum()).clamp(max=0.5),
            tuple((i, i + 1) for i in groups),
            tuple((i + 2, i + 3) for i in groups),
        )

    def sample(
        self, rows: int, seed: int = 0
    ) -> tuple[Float[Tensor, "row d"], Bool[Tensor, "row feature"]]:
        """Vectors, and which features are on in each."""
        generator = torch.Generator().manual_seed(seed)
        chance = torch.rand(rows, len(self.rates), generator=generator)
        on = chance < self.rates
        for parent, child in self.children:
            on[:, child] = on[:, parent] & (torch.rand(rows, generator=generator) < 0.4)
        for leader, follower in self.pairs:
            on[:, follower] |= on[:, leader] & (torch.rand(rows, generator=generator) < 0.5)
        sizes = on * (0.5 + torch.rand(rows, len(self.rates), generator=generator))
        return sizes @ self.directions, on


@dataclass(frozen=True)
class Recovery(Result):
    """How well known features were found."""

    about: ClassVar[About] = About(
        "recovered features",
        "Are the known features found again?",
        "Matched cosine and share found, where the true features are known.",
    )

    features: int
    best_cosine: float
    """Mean over true features of the largest cosine with a decoder row."""
    matched_cosine: float
    """The same when each decoder row may stand for one feature only."""
    found: float
    """Share of true features with a matched cosine of `SAME` at least."""
    split: float
    """Share of true features that two decoder rows or more have a cosine of `SPLIT` with."""
    absorbed: float
    """P(parent's feature off | parent and child on) − P(off | parent on, child off), mean over
    pairs; NaN where there is no pair.
    """
    hedged: float
    """Cosine of a leader's decoder row with its follower's direction, beyond that of the true
    directions; mean over pairs.
    """

    def tables(self) -> tuple[Table, ...]:
        rows = (
            ("largest cosine with a decoder row", self.best_cosine),
            ("the same, matched one to one", self.matched_cosine),
            ("share of true features found", self.found),
            ("share split over several", self.split),
            ("absorbed", self.absorbed),
            ("hedged", self.hedged),
        )
        return (Table(f"{self.features} true features", columns("measure", "value"), rows),)

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "loci.dictionary_recovery/1", **asdict(self)}


@torch.no_grad()
def recovery(
    dictionary: Dictionary, world: SyntheticWorld, rows: int = 10_000, seed: int = 1
) -> Recovery:
    """Compare a dictionary of the world's vectors with the world. Cost: one encoding of `rows`
    vectors, and a matching.
    """
    decoder = dictionary.W_dec / dictionary.W_dec.norm(dim=1, keepdim=True).clamp(min=1e-12)
    cosines = world.directions @ decoder.T
    match = torch.from_numpy(assignment(-cosines.double().numpy()))
    matched = cosines[torch.arange(len(cosines)), match]
    x, on = world.sample(rows, seed)
    active = dictionary.encode(x) != 0
    absorbed = []
    for parent, child in world.children:
        off = ~active[:, match[parent]]
        both, alone = on[:, parent] & on[:, child], on[:, parent] & ~on[:, child]
        if bool(both.any()) and bool(alone.any()):
            absorbed.append(float(off[both].float().mean() - off[alone].float().mean()))
    hedged = [
        float(decoder[match[a]] @ world.directions[b] - world.directions[a] @ world.directions[b])
        for a, b in world.pairs
    ]
    return Recovery(
        features=len(cosines),
        best_cosine=float(cosines.max(1).values.mean()),
        matched_cosine=float(matched.mean()),
        found=float((matched >= SAME).float().mean()),
        split=float(((cosines >= SPLIT).sum(1) >= 2).float().mean()),
        absorbed=float(np.mean(absorbed)) if absorbed else float("nan"),
        hedged=float(np.mean(hedged)) if hedged else float("nan"),
    )


def assignment(cost: np.ndarray) -> np.ndarray:
    """The column of each row so that the sum of costs is smallest, no column twice (Kuhn–Munkres
    with potentials).

    Args: cost: [rows, columns], at least as many columns as rows. Cost: O(rows² · columns).
    """
    rows, columns = cost.shape
    if rows > columns:
        raise ValueError(f"{rows} rows cannot have different columns of {columns}")
    u, v = np.zeros(rows + 1), np.zeros(columns + 1)
    owner, way = np.zeros(columns + 1, dtype=int), np.zeros(columns + 1, dtype=int)
    for row in range(1, rows + 1):
        owner[0], at = row, 0
        least, used = np.full(columns + 1, np.inf), np.zeros(columns + 1, dtype=bool)
        while True:
            used[at] = True
            i = owner[at]
            reduced = cost[i - 1] - u[i] - v[1:]
            better = ~used[1:] & (reduced < least[1:])
            least[1:][better], way[1:][better] = reduced[better], at
            open_ = np.where(used[1:], np.inf, least[1:])
            nearest = int(open_.argmin()) + 1
            delta = open_[nearest - 1]
            u[owner[used]] += delta
            v[used] -= delta
            least[1:][~used[1:]] -= delta
            at = nearest
            if owner[at] == 0:
                break
        while at:
            owner[at], at = owner[way[at]], way[at]
    assigned = np.zeros(rows, dtype=int)
    for column in range(1, columns + 1):
        if owner[column]:
            assigned[owner[column] - 1] = column - 1
    return assigned
