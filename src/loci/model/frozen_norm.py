"""Norms with their scale held, so that what passes them is linear in what it is made of.

norm(x) = γ ⊙ z / s(x) + β  held at x:  v ↦ γ ⊙ (v − mean v) / s(x)
                            (without the mean where the norm does not centre)
"""

from jaxtyping import Float
from torch import Tensor

from loci.model.weights import Weights


class FrozenNorm:
    """A norm whose scale is frozen at the values that it takes on x.

    Args:
        model: whose norm it is.
        name: "attn_norm", "attn_post", "mlp_norm", "mlp_post" or "final_norm". A norm that the
            family lacks is the identity.
        layer: the block; None for "final_norm".
        x: vectors at which the scale is taken, [*any, d_model].
    """

    def __init__(
        self, model: Weights, name: str, layer: int | None, x: Float[Tensor, "*any d_model"]
    ) -> None:
        if not getattr(model.layout, name):
            self.centres, self.bias, self.weight = False, x.new_zeros(x.shape[-1]), x.new_ones(1)
            return
        norm = model.norm(name, layer)
        self.centres, self.bias = norm.centres, norm.bias.float()
        out = model.module(name, layer)(x.to(model.dtype)).float() - self.bias
        linear = norm.gain.float() * self._centred(x)
        scale = (linear * out).sum(-1, keepdim=True) / linear.square().sum(-1, keepdim=True).clamp(
            min=1e-30
        )
        self.weight = norm.gain.float() * scale

    def __call__(self, v: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """The map of v, without β."""
        return self.weight * self._centred(v)

    def read(self, u: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """r with r · v = u · (the map of v), for every v."""
        return self._centred(self.weight * u)

    def _centred(self, v: Tensor) -> Tensor:
        return v - v.mean(-1, keepdim=True) if self.centres else v
