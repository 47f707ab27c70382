"""The weights of a transformer under the field's names: views of the real parameters, or single
tensors read where they lie.

Every matrix stands as [out, in], whatever way the module keeps it, and acts on column vectors:

    q = W_Q x    head h writes W_O[h] z[h]    neuron i fires by W_key[i] · x and writes W_down[:, i]

Nothing is copied or changed on opening. Folded weights are computed on demand, and say so by their
type.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import ModelError
from loci.model.accessors import Fused
from loci.model.modules import Modules


class Norm(NamedTuple):
    """norm(x) = gain ⊙ z / rms(z) + bias, with z = x − mean x where it centres, else z = x."""

    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    centres: bool


class Folded(NamedTuple):
    """A weight with the norm before it taken in, computed, not a view: W norm(x) + b = weight · x /
    rms(z) + bias.
    """

    weight: Float[Tensor, "*heads out d_model"]
    bias: Float[Tensor, "*heads out"]


class Weights(Modules):
    """A decoder's modules, found by a layout, and its weights by name, in memory or offloaded."""

    # embedding and unembedding
    # ---------------------------------------------------------------------------------------

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """Embedding: one row a token, before any scale of the family's (see `embed_scale`)."""
        return self.matrix("embed")

    @property
    @torch.no_grad()
    def embed_scale(self) -> float:
        """By what the family multiplies embeddings on their way into the residual stream: asked of
        the module.
        """
        embed, first = self.module("embed"), torch.zeros(1, dtype=torch.long, device=self.device)
        row = self.W_E[:1].to(self.device)
        return float((embed(first) * row).sum() / row.square().sum().clamp(min=1e-30))

    @property
    def W_U(self) -> Float[Tensor, "d_vocab d_model"]:
        """Unembedding: one row a token."""
        return self.matrix("unembed")

    @property
    def b_U(self) -> Float[Tensor, " d_vocab"]:
        return self.bias("unembed")

    # attention
    # ----------------------------------------------------------------------------------------------

    def W_Q(self, layer: int) -> Float[Tensor, "n_heads d_head d_model"]:
        return self._heads("q", self.matrix("q", layer))

    def W_K(self, layer: int, *, expand: bool = True) -> Float[Tensor, "heads d_head d_model"]:
        """Keys, one a query head: shared ones repeated (a copy then, as no view can do that), or
        with `expand=False` once each.
        """
        return self._shared(self._heads("k", self.matrix("k", layer)), expand)

    def W_V(self, layer: int, *, expand: bool = True) -> Float[Tensor, "heads d_head d_model"]:
        """Values, as `W_K`."""
        return self._shared(self._heads("v", self.matrix("v", layer)), expand)

    def W_O(self, layer: int) -> Float[Tensor, "n_heads d_model d_head"]:
        """Column block h writes what head h found; the sum over heads and b_O make `attn_raw`."""
        by_head: Tensor = self.matrix("o", layer).unflatten(1, (self.n_heads, self.d_head))
        return by_head.movedim(1, 0)

    def b_Q(self, layer: int) -> Float[Tensor, "n_heads d_head"]:
        return self._heads("q", self.bias("q", layer))

    def b_K(self, layer: int, *, expand: bool = True) -> Float[Tensor, "heads d_head"]:
        return self._shared(self._heads("k", self.bias("k", layer)), expand)

    def b_V(self, layer: int, *, expand: bool = True) -> Float[Tensor, "heads d_head"]:
        return self._shared(self._heads("v", self.bias("v", layer)), expand)

    def b_O(self, layer: int) -> Float[Tensor, " d_model"]:
        return self.bias("o", layer)

    def fused(self) -> Fused | None:
        """How q, k and v share one projection; None where each has its own."""
        layout = self.layout
        return (
            Fused(self.n_heads, self.n_kv_heads, layout.grouped) if layout.q == layout.k else None
        )

    def _heads(self, name: str, rows: Tensor) -> Tensor:
        """Rows of a projection by head: [heads, d_head, …]."""
        fused = self.fused()
        return fused.take(name, rows, 0) if fused else rows.unflatten(0, (-1, self.d_head))

    def _shared(self, per_kv: Tensor, expand: bool) -> Tensor:
        times = self.n_heads // self.n_kv_heads
        return per_kv.repeat_interleave(times, 0) if expand and times > 1 else per_kv

    # MLP
    # ----------------------------------------------------------------------------------------------

    def W_up(self, layer: int, expert: int | None = None) -> Float[Tensor, "d_mlp d_model"]:
        """Up projection: row i is what neuron i looks for (in a gated MLP: what scales it)."""
        return self._mlp("up", layer, expert)

    def W_gate(self, layer: int, expert: int | None = None) -> Float[Tensor, "d_mlp d_model"]:
        """Gate of a gated MLP: row i decides whether neuron i fires."""
        return self._mlp("gate", layer, expert)

    def W_key(self, layer: int, expert: int | None = None) -> Float[Tensor, "d_mlp d_model"]:
        """Keys: row i decides whether neuron i fires. The gate's rows in a gated MLP, the up
        projection's elsewhere.
        """
        return self._mlp("gate" if self.gated else "up", layer, expert)

    def W_down(self, layer: int, expert: int | None = None) -> Float[Tensor, "d_model d_mlp"]:
        """Values: column i is what neuron i writes."""
        return self._mlp("down", layer, expert)

    def b_up(self, layer: int) -> Float[Tensor, " d_mlp"]:
        return self._half("up", self.bias("up", layer))

    def b_gate(self, layer: int) -> Float[Tensor, " d_mlp"]:
        return self._half("gate", self.bias("gate", layer))

    def b_key(self, layer: int) -> Float[Tensor, " d_mlp"]:
        """Biases of the keys, minus the neurons' thresholds; zeros where the family has none, as in
        mixtures.
        """
        if self.n_experts:
            return torch.zeros(self.d_mlp, dtype=self.dtype)
        return self.b_gate(layer) if self.gated else self.b_up(layer)

    def b_down(self, layer: int) -> Float[Tensor, " d_model"]:
        return self.bias("down", layer)

    def _mlp(self, name: str, layer: int, expert: int | None) -> Tensor:
        if not self.n_experts:
            if expert is not None:
                raise ModelError(f"{self.name!r} has no experts: say W_{name}({layer})")
            return self._half(name, self.matrix(name, layer))
        if expert is None:
            raise ModelError(
                f"layer {layer} is a mixture of {self.n_experts} experts: say which, as in"
                f" W_{name}({layer}, expert=0)"
            )
        if not 0 <= expert < self.n_experts:
            raise ModelError(f"there is no expert {expert}: expected 0 … {self.n_experts - 1}")
        if name == "down":
            return self.tensor(self.module("experts", layer), "down_proj")[expert]
        return self.tensor(self.module("experts", layer), "gate_up_proj")[expert].chunk(2)[
            name == "up"
        ]

    def _half(self, name: str, rows: Tensor) -> Tensor:
        """The rows of one of two projections that share a module, gate first;
        all rows elsewhere.
        """
        fused = name != "down" and self.layout.gate and self.layout.gate == self.layout.up
        return rows.chunk(2)[name == "up"] if fused else rows

    def weight(self, name: str) -> Float[Tensor, "out in"]:
        """A weight that a patch may change, by its name: `W_up.3`, `W_gate.3` or `W_down.3`. A
        view: what is written to it, the model has.
        """
        stem, _, layer = name.partition(".")
        if (
            stem not in ("W_up", "W_gate", "W_down")
            or not layer.isdecimal()
            or int(layer) >= self.n_layers
        ):
            raise ModelError(
                f"there is no weight {name!r}: expected W_up.L, W_gate.L or W_down.L, with L below"
                f" {self.n_layers}"
            )
        if next(self.module(stem[2:], int(layer)).parameters()).is_meta:
            raise ModelError(
                f"{name} is offloaded, so nothing can be written to it: open the model without"
                " device_map"
            )
        view: Tensor = getattr(self, stem)(int(layer))
        return view

    # norms
    # ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def norm(self, name: str, layer: int | None = None) -> Norm:
        """Gain, bias and centring of a norm: "final_norm", or "attn_norm", "mlp_norm", "attn_post",
        "mlp_post" at a layer.

        Asked of the norm itself, as families keep γ in different ways (as it is, minus one, or not
        at all): with large x of ±1, γ = (norm(x) − norm(−x)) / 2, divided by what a norm without
        gain would give; β = norm(0).
        """
        module = self.module(name, layer)
        x = torch.full((self.d_model,), 64.0, device=self.device, dtype=self.dtype)
        x[1::2] *= -1
        plain = module(x)
        centres = torch.allclose(module(x + 64), plain, atol=1e-2 * float(plain.abs().max()))
        z = x - x.mean() if centres else x
        return Norm(
            (plain - module(-x)) / (2 * z / z.square().mean().sqrt()),
            module(torch.zeros_like(x)),
            centres,
        )

    @torch.no_grad()
    def norm_epsilon(self, name: str, layer: int | None = None) -> float:
        """ε of a norm gain ⊙ z / √(mean z² + ε) + bias, asked of the norm itself: 0 where it has
        none.

        With z of ±s, s so small that ε counts, (norm(z) − norm(−z)) / 2 = gain ⊙ z / √(s² + ε).
        Found as exactly as the model's dtype rounds. For streams that are small beside √ε.
        """
        module, (gain, _, centres) = self.module(name, layer), self.norm(name, layer)
        x = torch.full((self.d_model,), 2.0**-14, device=self.device, dtype=self.dtype)
        x[1::2] *= -1
        z = (x - x.mean() if centres else x).double()
        linear, half = gain.double() * z, (module(x) - module(-x)).double() / 2
        squares = linear.square().sum()
        if not float(squares):
            return 0.0
        scale = float((half * linear).sum() / squares)
        return max(0.0, 1 / scale**2 - float(z.square().mean())) if scale else 0.0

    def folded(self, name: str) -> Folded:
        """W_Q.L, W_K.L, W_V.L, W_up.L, W_gate.L or W_U with the norm before it folded in: gain,
        centring and bias. New tensors.

        Its input is x / √(mean z² + ε), with z as in `Norm` and ε as in `norm_epsilon`; centring is
        in the weight. Without a norm before it, the weight as it is.
        """
        stem, _, number = name.partition(".")
        before = {
            "W_U": "final_norm",
            **dict.fromkeys(("W_Q", "W_K", "W_V"), "attn_norm"),
            **dict.fromkeys(("W_up", "W_gate"), "mlp_norm"),
        }
        if (
            stem not in before
            or (stem == "W_U") == number.isdecimal()
            or (number and int(number) >= self.n_layers)
        ):
            raise ModelError(
                f"there is no weight {name!r} with a norm before it: expected W_U, or"
                f" {', '.join(f'{n}.L' for n in before if n != 'W_U')}"
            )
        layer = int(number) if number else None
        weight = getattr(self, stem) if layer is None else getattr(self, stem)(layer)
        bias = self.b_U if layer is None else getattr(self, f"b{stem[1:]}")(layer)
        if not getattr(self.layout, before[stem]):
            return Folded(weight.clone(), bias.clone())
        gain, shift, centres = self.norm(before[stem], layer)
        folded = weight * gain
        return Folded(
            folded - folded.mean(-1, keepdim=True) if centres else folded, bias + weight @ shift
        )
