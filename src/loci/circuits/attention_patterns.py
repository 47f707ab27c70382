"""Attention patterns of heads on a text: plain, and weighted by how much each source writes.

    plain    A[i, j]
    weighted A[i, j] · ‖W_O v_j‖        what is looked at but writes nothing (a resting place, often
                                        the first token) grows pale

Source: Elhage et al. 2021 ("value-weighted attention"); Kobayashi et al. 2020.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from loci.errors import CircuitError
from loci.model import Model
from loci.model.names import head_name, parse_head
from loci.model.rounding import broken
from loci.result import About, Result
from loci.tables import Table, columns

MOST = 64
"""Heads at once, unless they are named."""


@dataclass(frozen=True, eq=False)
class AttentionPatterns(Result):
    """Patterns by head; rows are destinations, columns sources."""

    about: ClassVar[About] = About(
        "attention patterns",
        "Where do heads look?",
        "Rows look at columns.",
        "circuits_patterns.patterns_figure",
    )

    model: str
    bos: bool
    text: str
    tokens: tuple[str, ...]
    plain: dict[str, Float[Tensor, "query key"]]
    weighted: dict[str, Float[Tensor, "query key"]]

    def tables(self) -> tuple[Table, ...]:
        return tuple(self._table(name, pattern) for name, pattern in self.plain.items())

    def _table(self, name: str, pattern: Float[Tensor, "to token"]) -> Table:
        rows = []
        for i, token in enumerate(self.tokens):
            best = pattern[i, : i + 1].topk(min(3, i + 1))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            rows.append((token, ", ".join(f"{self.tokens[j]} {x:.2f}" for j, x in pairs)))
        return Table(name, columns("token", "looks at"), tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        grids = {
            name: {head: grid.tolist() for head, grid in getattr(self, name).items()}
            for name in ("plain", "weighted")
        }
        return {"schema": "loci.patterns/1", **vars(self), **grids}


@torch.no_grad()
def patterns(model: Model, text: str, heads: Sequence[str] = ()) -> AttentionPatterns:
    """Attention patterns of the named heads, plain and weighted by value norms.

    Args:
        model: an open model; it is left as it was.
        text: the text to run.
        heads: names such as `L1H3`; empty: all heads.

    Returns: `AttentionPatterns`, one [query, key] matrix a head.
    Raises: `ModelError` where patterns cannot be seen, `CircuitError` for more than `MOST` heads.
    Cost: One run up to the highest of the heads.
    Source: Kobayashi et al. 2020.
    """
    if not model.n_layers:
        raise CircuitError(f"{model.name!r} has no layers, so no heads that look anywhere")
    tokens = model.tokenize(text)
    chosen = [parse_head(name, model) for name in heads]
    if not chosen and model.n_layers * model.n_heads > MOST:
        raise CircuitError(
            f"{model.name!r} has {model.n_layers * model.n_heads} heads: name at most {MOST} of "
            "them, as in L1H3"
        )
    return patterns_on(model, text, tokens.ids, tokens.labels, chosen)


@torch.no_grad()
def patterns_on(
    model: Model,
    text: str,
    ids: Sequence[int],
    labels: Sequence[str],
    chosen: Sequence[tuple[int, int]] = (),
) -> AttentionPatterns:
    """The same of tokens as they are, which say `text`."""
    chosen = list(chosen) or [
        (layer, h) for layer in range(model.n_layers) for h in range(model.n_heads)
    ]
    reads = model.read(
        model.ids([ids]),
        *(
            f"{stem}.{layer}"
            for layer in sorted({layer for layer, _ in chosen})
            for stem in ("v", "attn_probs")
        ),
    )
    plain, weighted = {}, {}
    share = model.n_heads // model.n_kv_heads
    for layer, h in chosen:
        if not reads[f"attn_probs.{layer}"].isfinite().all():
            raise CircuitError(
                f"patterns of {model.name!r} in layer {layer} are not finite: {broken(model)}"
            )
        pattern, values = (
            reads[f"attn_probs.{layer}"][0, h].float().cpu(),
            reads[f"v.{layer}"][0, :, h // share].float(),
        )
        sizes = einsum(model.W_O(layer)[h].float(), values, "d r, p r -> p d").norm(dim=-1).cpu()
        plain[head_name(layer, h)], weighted[head_name(layer, h)] = pattern, pattern * sizes
    return AttentionPatterns(model.name, model.with_bos, text, tuple(labels), plain, weighted)
