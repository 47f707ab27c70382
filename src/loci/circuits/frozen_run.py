"""A run with its patterns and its norms' scales held: from then on the logits are linear in
whatever enters the stream.

    x_{l+1} = x_l + Σ_h A_l^h ⊗ W_OV^h x_l + c_l + m_l        A, norms: as in the run; c: biases; m:
                                                              what the MLP wrote in the run

MLPs are not opened: what they wrote is a further start of paths. Norms behind attention are held
too. Cost: one run, patterns kept.
"""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from loci.model import Model
from loci.model.accessors import FIRST
from loci.model.answers import finite
from loci.model.frozen_norm import FrozenNorm
from loci.model.hooks import HookSite, attached


@dataclass(frozen=True)
class FrozenHeads:
    """The attention of one layer as it was in the run."""

    stream: Float[Tensor, "row position d_model"]
    """The residual stream before the layer."""
    patterns: Float[Tensor, "row head query key"]
    W_V: Float[Tensor, "head d_head d_model"]
    W_O: Float[Tensor, "head d_model d_head"]
    before: FrozenNorm
    after: FrozenNorm
    constant: Float[Tensor, "row position d_model"]
    """The sum of the biases, which is the same whatever the stream holds."""
    mlp: Float[Tensor, "row position d_model"]

    def move(
        self, x: Float[Tensor, "*any row position d_model"]
    ) -> Float[Tensor, "*any row position d_model"]:
        """The output of all heads on the stream x, without biases."""
        values = einsum(self.W_V, self.before(x), "h r d, ... k d -> ... h k r")
        return self.after(einsum(self.W_O, self.patterns @ values, "h d r, ... h q r -> ... q d"))

    def by_head(
        self, x: Float[Tensor, "*any row position d_model"]
    ) -> Float[Tensor, "*any row head position d_model"]:
        """The same head by head."""
        values = einsum(self.W_V, self.before(x), "h r d, ... k d -> ... h k r")
        written = einsum(self.W_O, self.patterns @ values, "h d r, ... h q r -> h ... q d")
        return self.after(written).movedim(0, -3)

    def back(
        self, g: Float[Tensor, "*any row position d_model"]
    ) -> Float[Tensor, "head *any row position d_model"]:
        """For each head the covectors with back · x = g · (what the head writes of x), summed
        over positions."""
        asked = einsum(self.W_O, self.after.read(g), "h d r, ... q d -> ... h q r")
        seen = einsum(self.W_V, self.patterns.mT @ asked, "h r d, ... h k r -> h ... k d")
        return self.before.read(seen)


@dataclass(frozen=True)
class FrozenRun:
    """A model on a batch, held."""

    model: Model
    start: Float[Tensor, "row position d_model"]
    """Embeddings and positions."""
    layers: tuple[FrozenHeads, ...]
    final: FrozenNorm
    last: Float[Tensor, "row position d_model"]
    """The stream after the last layer, as it was."""
    logits: Float[Tensor, "row 1 d_vocab"]
    """Of the last position alone: a row of them is as wide as the vocabulary."""

    def unembed(
        self, x: Float[Tensor, "*any row position d_model"]
    ) -> Float[Tensor, "*any row position d_vocab"]:
        """Logits of a stream: through the final norm held, with its bias, and through the cap
        where there is one."""
        return self.project(self.normed(x))

    def normed(
        self, x: Float[Tensor, "*any row position d_model"]
    ) -> Float[Tensor, "*any row position d_model"]:
        """A stream behind the final norm held, with its bias."""
        return self.final(x) + self.final.bias

    def project(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_vocab"]:
        """Logits of what stands behind the final norm, position by position."""
        scores: Tensor = x @ self.model.W_U.float().T + self.model.b_U.float()
        return self.model.capped(scores)

    def asked(self, row: Float[Tensor, " d_vocab"]) -> Float[Tensor, "row position d_model"]:
        """The covector of a score at the last position: asked · x = row · (logits of a last
        stream x), but for `constant` and the cap."""
        end = torch.zeros_like(self.last)
        end[:, -1] = self.model.W_U.float().T @ row
        return self.final.read(end)

    def constant(self, row: Float[Tensor, " d_vocab"]) -> float:
        """The part of that score from biases of the final norm and of the unembedding."""
        return float((self.model.W_U.float() @ self.final.bias + self.model.b_U.float()) @ row)

    @property
    def has_mlps(self) -> bool:
        """Whether any MLP wrote anything."""
        return any(bool(layer.mlp.any()) for layer in self.layers)


@torch.no_grad()
def freeze(model: Model, ids: Int[Tensor, "row position"]) -> FrozenRun:
    """Run a batch of equally long texts and hold it.

    Raises `ModelError` where patterns cannot be seen or logits are not finite.
    """
    stems = ["resid_pre", "attn_probs", "mlp_out"] + ["attn_raw"] * bool(model.layout.attn_post)
    ends: list[Tensor] = []
    before_unembedding = HookSite(model.module("final_norm"), "in", FIRST)
    with attached([(before_unembedding, ends.append)]), model.watch(*model.names(*stems)) as reads:
        logits = finite(model(ids, last=1), model).float()
    activations = {name: tensor.float() for name, tensor in reads.items()}
    layers, last = (
        tuple(_layer(model, layer, activations) for layer in range(model.n_layers)),
        ends[-1].float(),
    )
    return FrozenRun(
        model,
        layers[0].stream if layers else last,
        layers,
        FrozenNorm(model, "final_norm", None, last),
        last,
        logits,
    )


def _layer(model: Model, layer: int, activations: dict[str, Tensor]) -> FrozenHeads:
    x = activations[f"resid_pre.{layer}"]
    before, after = (
        FrozenNorm(model, "attn_norm", layer, x),
        FrozenNorm(model, "attn_post", layer, activations.get(f"attn_raw.{layer}", x)),
    )
    W_V, W_O = model.W_V(layer).float(), model.W_O(layer).float()
    values = W_V @ before.bias + model.b_V(layer).float()
    constant = einsum(W_O, values, "h d r, h r -> d") + model.b_O(layer).float()
    return FrozenHeads(
        stream=x,
        patterns=activations[f"attn_probs.{layer}"],
        W_V=W_V,
        W_O=W_O,
        before=before,
        after=after,
        constant=after(constant.expand_as(x)) + after.bias,
        mlp=activations[f"mlp_out.{layer}"],
    )
