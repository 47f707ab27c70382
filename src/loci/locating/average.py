"""Average traces over many facts, by the role of the token: which layers and which tokens matter on the whole.

Roles: first, middle and last subject token, first further token, further tokens, last token (Meng et al. 2022, figure 1).
Facts that the model does not know are left out and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.locating.trace import KINDS, Kind, Trace, trace
from loci.model import Model, score_answers
from loci.progress import Progress, silent
from loci.stats import Estimate, mean

ROLES = ("first subject", "middle subject", "last subject", "first further", "further", "last")


@dataclass(frozen=True)
class AverageTrace:
    """Average indirect effects: by kind, [layer, role] with n and intervals."""

    model: str
    bos: bool
    n: int
    unknown: int
    """Facts left out because the model does not answer them."""
    samples: int
    effects: dict[str, list[list[Estimate]]]

    def grid(self, kind: str) -> Float[Tensor, "layer role"]:
        return torch.tensor([[cell.value for cell in row] for row in self.effects[kind]])

    def to_dict(self) -> dict[str, Any]:
        cells = {kind: [[cell.to_dict() for cell in row] for row in rows] for kind, rows in self.effects.items()}
        plain = {
            "model": self.model,
            "bos": self.bos,
            "n": self.n,
            "unknown": self.unknown,
            "samples": self.samples,
            "roles": list(ROLES),
        }
        return {"schema": "loci.average_trace/1", **plain, "effects": cells}


def roles(one: Trace) -> dict[str, list[int]]:
    """The tokens of each role; a role that a prompt does not have is left out."""
    start, end = one.subject_span
    last = len(one.tokens) - 1
    found = {
        "first subject": [start] if end - start > 1 else [],
        "middle subject": list(range(start + 1, end - 1)),
        "last subject": [end - 1],
        "first further": [end] if end < last else [],
        "further": list(range(end + 1, last)),
        "last": [last] if last >= end else [],
    }
    return {role: tokens for role, tokens in found.items() if tokens}


def average_trace(
    model: Model,
    facts: Sequence[Fact],
    *,
    kinds: tuple[Kind, ...] = KINDS,
    samples: int = 10,
    noise: float = 3.0,
    seed: int = 0,
    progress: Progress = silent,
) -> AverageTrace:
    """Trace every fact that the model knows and average by role and layer, with bootstrap intervals over the facts."""
    known = [f for f, s in zip(facts, score_answers(model, [(f.text, f.answer) for f in facts]), strict=True) if s.greedy]
    if not known:
        raise FactError(f"{model.name!r} knows none of the {len(facts)} facts")
    cells: dict[tuple[Kind, int, str], list[float]] = {}
    for fact in known:
        one = trace(model, fact, kinds=kinds, samples=samples, noise=noise, seed=seed)
        for kind in kinds:
            for role, tokens in roles(one).items():
                for layer, effect in enumerate(one.grids[kind][:, tokens].mean(1).tolist()):
                    cells.setdefault((kind, layer, role), []).append(effect)
        progress(1, len(known))
    effects: dict[str, list[list[Estimate]]] = {
        kind: [[mean(cells.get((kind, layer, role), ())) for role in ROLES] for layer in range(model.n_layers)] for kind in kinds
    }
    return AverageTrace(model.name, model.with_bos, len(known), len(facts) - len(known), samples, effects)
