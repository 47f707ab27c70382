"""How sparse are the MLPs: at each token, the share of neurons that are active, and what
skipping the others would save.

    active:  |aᵢ| > threshold                      0 finds what is exactly nothing, as ReLU leaves
                                                   it
             |aᵢ| > threshold · maxⱼ |aⱼ|          (relative) of the layer's largest at this
                                                   token, for GELU and SiLU
    skipped: W_down[:, active] a[active] + b_down  the same as the whole product where all that is
        left out is exactly 0
    saved:   (1 − share) / 2 of an MLP's FLOPs     the down projection shrinks, the up projection
                                                   stays; gated: / 3

Which neurons are active is known only after the up projection, and one row at a time is slower on
most hardware than its FLOPs say: this counts arithmetic, not time. Sources: Zhang et al. 2022
(MoEfication); Li et al. 2023 (The Lazy Neuron Phenomenon).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import ModelError
from loci.model import Model
from loci.model.given import model_given, texts_given
from loci.progress import Progress, silent
from loci.reading.active_counts import (
    ActivityRule,
    Named,
    bounded_mean,
    check_skipping,
    count_active,
    makes_exact_zeros,
    windows_of,
)
from loci.result import About, Result
from loci.stats import Estimate
from loci.tables import Table, columns

RELATIVE = 0.01
"""The relative threshold where none is said."""
CHECKED = 64
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Sparsity(Result):
    """Shares of active neurons by layer and by token, and what skipping the others changes and
    saves."""

    about: ClassVar[About] = About(
        "sparsity",
        "How many neurons are active, and may the others be skipped?",
        "Shares of active neurons by layer, and the tokens with most and fewest.",
        "sparsity.sparsity_figure",
    )

    model: str
    bos: bool
    texts: int
    tokens: int
    threshold: float
    relative: bool
    """Whether the threshold is a share of the layer's largest absolute activation at the token."""
    active: Estimate
    """Share of active neurons, each text one unit."""
    by_layer: tuple[Estimate, ...]
    zeros: tuple[Estimate, ...]
    """Share of activations that are exactly 0, whatever the threshold."""
    spread: Float[Tensor, "layer 3"]
    """5 %, 50 % and 95 % quantiles over tokens of a token's share."""
    most: Named
    """Tokens with the largest mean share over all layers, each context one unit; only tokens
    seen behind five contexts or more."""
    fewest: Named
    checked: int
    """Tokens at which every layer was computed again from its active neurons alone."""
    skipped: tuple[float, ...]
    """By layer, the largest absolute activation that was skipped: 0 where skipping is exact."""
    error: tuple[float, ...]
    """By layer, the largest difference to the MLP's output, over that output's largest value."""
    rounding: tuple[float, ...]
    """The same difference with no neuron skipped: what another order of the same sum costs."""
    saved: Estimate
    """Share of the MLPs' FLOPs that skipping saves."""
    saved_exactly: Estimate
    """The same for what is exactly 0."""
    gated: bool

    @property
    def exact(self) -> bool:
        """Whether nothing but exact zeros was skipped."""
        return not any(self.skipped)

    @property
    def rule(self) -> str:
        """When a neuron counts as active, in words."""
        return f"|a| > {self.threshold:g}" + (
            " · the layer's largest |a| at the token" if self.relative else ""
        )

    def summary(self) -> tuple[str, ...]:
        return (
            f"{self.active.value:.1%} of the neurons are active at a token; skipping the others"
            " saves"
            f" {self.saved.value:.0%} of the MLPs' FLOPs.",
        )

    def title(self) -> str:
        return f"Active neurons: {self.rule}; {self.tokens:,} tokens of {self.texts:,} texts"

    def tables(self) -> tuple[Table, ...]:
        rows = []
        for layer, (on, none) in enumerate(zip(self.by_layer, self.zeros, strict=True)):
            low, _, high = self.spread[layer].tolist()
            errors = (float(self.error[layer]), float(self.rounding[layer]))
            rows.append((str(layer), on, f"{low:.0%} … {high:.0%}", none.value, *errors))
        kind = "all that is skipped is exactly 0" if self.exact else "what is skipped is not 0"
        tokens = tuple(
            (name, token.strip() or repr(token), own)
            for name, counts in (("most", self.most), ("fewest", self.fewest))
            for token, own in counts
        )
        heads = ("layer", "active|.1%", "5 … 95 % of tokens", "exactly 0|.1%")
        return (
            Table(
                "By layer",
                columns(*heads, "error of skipping|.0e", "of rounding|.0e"),
                tuple(rows),
                note=f"{kind}; errors over the output's largest value, at {self.checked} tokens;"
                " FLOPs are arithmetic, not time",
            ),
            Table("Tokens", columns("", "token", "active|.1%"), tokens),
        )

    def to_dict(self) -> dict[str, Any]:
        lists = {
            name: [estimate.to_dict() for estimate in getattr(self, name)]
            for name in ("by_layer", "zeros")
        }
        named = {
            name: [
                {"token": token, "share": estimate.to_dict()}
                for token, estimate in getattr(self, name)
            ]
            for name in ("most", "fewest")
        }
        whole = {
            name: getattr(self, name).to_dict() for name in ("active", "saved", "saved_exactly")
        }
        plain = {
            **vars(self),
            "spread": self.spread.tolist(),
            "rule": self.rule,
            "exact": self.exact,
        }
        return {"schema": "loci.sparsity/1", **plain, **whole, **lists, **named}


@torch.no_grad()
def sparsity(
    model: Model,
    texts: Sequence[str] | None = None,
    *,
    threshold: float | None = None,
    relative: bool | None = None,
    top: int = 10,
    checked: int = CHECKED,
    progress: Progress = silent,
) -> Sparsity:
    """Share of MLP neurons that are active at a token.

        loci.sparsity(model, texts, threshold=0.1)

    Without `threshold` and `relative`, activations are compared with 0 where the first texts show
    exact zeros, as ReLU makes them, and with 1 % of the layer's largest elsewhere.

    Args:
        model: an open model; it is left as it was.
        texts: None: 20,000 tokens of the embedded text.
        threshold: activations above it are active; alone it is absolute.
        relative: take `threshold` as a share of the layer's largest activation at the token.
        top: texts and neurons listed at both ends.
        checked: tokens on which skipping inactive neurons is checked.
        progress: called with (steps done, steps in all).

    Returns: `Sparsity`: active share by layer, with intervals, and what skipping would save.
    Raises: `ModelError` where there is no text, for a negative threshold, and for mixtures of
        experts.
    Cost: One run over the text, and a short one for the check.
    """
    model_given(model).place("mlp_act.0")
    texts = None if texts is None else texts_given(texts)
    if checked < 1:
        raise ModelError(f"skipping is checked at one token at least, not {checked}")
    read = windows_of(model, texts)
    if relative is None:
        relative = threshold is None and not makes_exact_zeros(model, read)
    rule = ActivityRule(
        float((RELATIVE if relative else 0) if threshold is None else threshold), relative
    )
    counted = count_active(model, read, rule, progress)
    active, zeros = counted.by_text(counted.active), counted.by_text(counted.zeros)
    most, fewest = counted.extremes(model, top)
    again = check_skipping(model, read, rule, checked)
    return Sparsity(
        model=model.name,
        bos=model.with_bos,
        texts=len({window.text for window in read}),
        tokens=len(counted.ids),
        threshold=rule.threshold,
        relative=relative,
        active=bounded_mean(active.mean(1).tolist()),
        by_layer=tuple(bounded_mean(column) for column in active.T.tolist()),
        zeros=tuple(bounded_mean(column) for column in zeros.T.tolist()),
        spread=counted.active.quantile(torch.tensor(QUANTILES, dtype=torch.float64), dim=0).T,
        most=most,
        fewest=fewest,
        saved=_saved(model, bounded_mean((1 - active.mean(1)).tolist())),
        saved_exactly=_saved(model, bounded_mean(zeros.mean(1).tolist())),
        gated=model.gated,
        **again,
    )


def _saved(model: Model, left: Estimate) -> Estimate:
    """Share of an MLP's FLOPs, where this share of the down projection's columns is left out."""
    matrices = 3 if model.gated else 2
    return Estimate(left.value / matrices, left.low / matrices, left.high / matrices, left.n)
