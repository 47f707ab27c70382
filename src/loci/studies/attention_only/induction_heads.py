"""Induction in two layers: a head that looks for what came before, and is told it by a head that
looks one token back.

    second-layer score   E[t]ᵀ W_QK W_OV^prev E[t']     high at t = t': it looks at the token
                                                        *after* an earlier t
    second-layer effect  W_U W_OV E                     high on the diagonal: what it looks at it
                                                        says again

Both are copying matrices, so both have positive eigenvalues: Σλ/Σ|λ| near 1 on both axes, the
corner where induction heads stand. K-composition: ‖W_QK W_OV^prev‖ / (‖W_QK‖ ‖W_OV^prev‖) times
√d_model, which is 1 for matrices turned at random. And by intervention: prefix matching with each
head of the first layer silenced. Source: Elhage et al. 2021, "Two-layer attention-only
transformers".
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from loci.circuits.composition import compose
from loci.circuits.embedding_maps import embed
from loci.circuits.heads import Head, layer_heads
from loci.circuits.measured_scores import scores_on
from loci.circuits.repeated import RepeatedTokens
from loci.circuits.scores import weighed_scores
from loci.errors import CircuitError
from loci.model.hooks import put_at
from loci.model.names import head_name
from loci.result import About, Result
from loci.stats import Estimate
from loci.studies.attention_only.training import SmallModel, repeated_for, text_of
from loci.tables import Table, columns


@dataclass(frozen=True)
class SecondLayerHead:
    """A head of the second layer."""

    name: str
    induction: Estimate
    """Prefix matching on repeated random tokens."""
    qk: float
    """Σλ/Σ|λ| of its score as it reads what the previous-token head writes."""
    ov: float
    """Σλ/Σ|λ| of its effect, from tokens to tokens."""
    composition: dict[str, float]
    """K-composition with each head of the first layer, times what is expected at random."""
    silenced: dict[str, Estimate]
    """Prefix matching with each head of the first layer at zero."""

    def to_dict(self) -> dict[str, Any]:
        silenced = {name: e.to_dict() for name, e in self.silenced.items()}
        return {**vars(self), "induction": self.induction.to_dict(), "silenced": silenced}


@dataclass(frozen=True)
class TwoLayerInduction(Result):
    """The heads of both layers."""

    about: ClassVar[About] = About(
        "induction heads",
        "Which heads find what came after the earlier place, and with whom do they compose?",
        "Heads in the upper right have both eigenvalue shares positive; bars say what "
        "silencing the previous-token head costs.",
        "small_heads.corners_figure",
    )

    model: str
    previous: dict[str, Estimate]
    """Previous-token score of the heads of the first layer."""
    heads: tuple[SecondLayerHead, ...]

    @property
    def carrier(self) -> str:
        """The previous-token head."""
        return max(self.previous, key=lambda name: self.previous[name].value)

    def summary(self) -> tuple[str, ...]:
        return (f"Previous-token head: {self.carrier}, {self.previous[self.carrier]}",)

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                own.name,
                own.induction,
                own.silenced[self.carrier].value,
                own.qk,
                own.ov,
                own.composition[self.carrier],
            )
            for own in sorted(self.heads, key=lambda own: -own.induction.value)
        )
        heads = ("prefix matching", f"without {self.carrier}|.3f", "score λ|+.2f", "effect λ|+.2f")
        return (
            Table(
                "Heads",
                columns("head", *heads, f"K with {self.carrier}|.2f|times chance"),
                rows,
                note="λ: Σλ/Σ|λ|, 1 where all eigenvalues are positive; K: times what random"
                " matrices have",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        previous = {name: e.to_dict() for name, e in self.previous.items()}
        rows = [head.to_dict() for head in self.heads]
        return {
            "schema": "loci.corners/1",
            **vars(self),
            "previous": previous,
            "carrier": self.carrier,
            "heads": rows,
        }


@torch.no_grad()
def corners(small: SmallModel) -> TwoLayerInduction:
    """Score the second-layer heads of a two-layer model as induction heads, by weights and by cuts.

    Args:
        small: a model that `train` or `load` gave.

    Returns: `TwoLayerInduction`.
    Raises: `CircuitError` for another number of layers.
    Cost: One run, and one for each head of the first layer.
    Source: Elhage et al. 2021.
    """
    if small.recipe.layers != 2:
        raise CircuitError(
            f"{small.model.name!r} has {small.recipe.layers} layers; induction takes two: one head "
            "to tell, one to look"
        )
    model = small.model
    text = repeated_for(model, text_of(small), small.recipe.seed)
    scored = {head_name(layer, head): scores for layer, head, scores in scores_on(model, text)}
    lower, upper = layer_heads(model, 0), layer_heads(model, 1)
    previous = {head.name: scored[head.name]["previous_token"] for head in lower}
    teller = max(lower, key=lambda head: previous[head.name].value)
    copying = [row["copying_positivity"] for row in weighed_scores(model)][len(lower) :]
    silenced = {head.name: _without(small, head, text) for head in lower}
    E, together = embed(model), compose(model)
    rows = tuple(
        SecondLayerHead(
            name=head.name,
            induction=scored[head.name]["induction"],
            qk=head.qk.on_key(teller.ov).on_key(E).on_query(E).positivity,
            ov=copied,
            composition={
                low.name: together.score("k", head.name, low.name) / together.null for low in lower
            },
            silenced={name: scores[head.name] for name, scores in silenced.items()},
        )
        for head, copied in zip(upper, copying, strict=True)
    )
    return TwoLayerInduction(model.name, previous, rows)


def _without(small: SmallModel, head: Head, text: RepeatedTokens) -> dict[str, Estimate]:
    """Prefix matching of all heads with one of the first layer silenced."""
    silenced = put_at(torch.zeros(()), slice(None), slice(None), head.head)
    with small.model.patched({f"z.{head.layer}": silenced}):
        return {
            head_name(layer, h): scores["induction"]
            for layer, h, scores in scores_on(small.model, text)
        }
