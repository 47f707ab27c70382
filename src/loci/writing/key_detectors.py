"""Neurons that see a new subject, and nothing else: two neurons a fact.

key_i     what enters the MLP of a layer at the last token of subject i, the mean over its phrasings
row_i     C⁻¹ key_i / (key_iᵀ C⁻¹ key_i),  C the second moment of that point over text: 1 at the
key, as small as can be elsewhere fire_i    clamp((row_i · x − low_i) / (high_i − low_i), 0, 1), the
difference of two ReLUs; GELU and SiLU act as one: act(s z) / s → ReLU(z)
          low_i the largest row_i · x over text and other subjects, high_i the smallest over the
              subject's own phrasings
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from loci.facts import Fact, FactSet
from loci.facts.fact import BLANK
from loci.linalg import solve_positive
from loci.model import Model, by_length
from loci.patches import AddedNeurons, activation
from loci.text import sample_text
from loci.writing.keys import subject_keys

TOKENS = 20_000
RIDGE = 1e-3
GAP = 0.02
"""The least way from low to high, relative to the key's 1: where there is less, a neuron is not
kept apart."""

SHARP = 50.0
"""s, by which other activations than ReLU are brought near to one: GELU to 0.17 / s of a fact's
value, SiLU to 0.28 / s."""


@dataclass(frozen=True)
class Detectors:
    """Rows of unit response at their keys, and where each begins and ends to fire."""

    rows: Float[Tensor, "fact d_model"]
    low: Float[Tensor, " fact"]
    high: Float[Tensor, " fact"]
    crowded: int
    """Subjects that text or other subjects come nearer to than their own phrasings."""
    sharp: float = 1.0
    """The factor of pre-activations and divisor of values: 1 for a ReLU."""

    def fire(self, keys: Float[Tensor, "any d_model"]) -> Float[Tensor, "any fact"]:
        """How far each fires, 0 … 1."""
        return ((keys.double() @ self.rows.T - self.low) / (self.high - self.low)).clamp(0, 1)

    def neurons(self, values: Float[Tensor, "fact d_model"]) -> AddedNeurons:
        """Two neurons a fact, which write its value where it fires."""
        slope = self.sharp * (1 / (self.high - self.low)).repeat(2)
        up, bias = (
            torch.cat([self.rows, self.rows]) * slope[:, None],
            -torch.cat([self.low, self.high]) * slope,
        )
        return AddedNeurons(
            up.float(), bias.float(), (torch.cat([values, -values]).T / self.sharp).float()
        )


def detectors(model: Model, facts: Sequence[Fact], layer: int, known: FactSet) -> Detectors:
    """Detectors for the subjects of some facts.

    Cost: a partial pass over text, all known prompts, and the new facts' phrasings.
    """
    own = [subject_keys(model, shown(fact), layer).double() for fact in facts]
    keys = torch.stack([rows.mean(0) for rows in own])
    away = torch.cat(
        [over_text(model, f"mlp_in.{layer}"), subject_keys(model, list(known), layer)]
    ).double()
    C = away.T @ away / len(away)
    C.diagonal().add_(RIDGE * C.diagonal().mean())
    rows = solve_positive(C, keys.T, "the second moment of the keys").T
    rows = rows / (rows * keys).sum(1, keepdim=True)
    high = torch.stack([(mine @ row).min() for mine, row in zip(own, rows, strict=True)])
    others = (rows @ keys.T).fill_diagonal_(-torch.inf).amax(1)
    low = torch.maximum((rows @ away.T).amax(1), others).clamp_min(0)
    sharp = 1.0 if activation(model) == "relu" else SHARP
    return Detectors(
        rows, torch.minimum(low, high - GAP), high, int((low > high - GAP).sum()), sharp
    )


def shown(fact: Fact) -> list[Fact]:
    """The fact in each phrasing with its subject that may be looked at; held-out ones are not
    among them."""
    return [
        fact,
        *(replace(fact, prompt=text) for text in fact.paraphrases if text.count(BLANK) == 1),
    ]


def over_text(model: Model, point: str) -> Float[Tensor, "token width"]:
    """Activations of a point at every token of plain text, in float32."""
    texts = [model.tokenize(text) for text in sample_text(model, TOKENS)]
    parts = []
    for rows in by_length(texts, len, 4096):
        parts.append(
            model.read(model.ids([texts[row].ids for row in rows]), point)[point].flatten(0, 1)
        )
    return torch.cat(parts).float().cpu()
