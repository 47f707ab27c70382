"""An MLP's output as a sum of sub-updates, one a neuron: Δx = Σᵢ aᵢ vᵢ + b (Geva et al. 2022)."""

from jaxtyping import Float
from torch import Tensor

from loci.model.weights import Weights


def update_sizes(weights: Weights, layer: int, act: Float[Tensor, "*any d_mlp"]) -> Float[Tensor, "*any d_mlp"]:
    """|aᵢ| · ‖vᵢ‖: how long each neuron's sub-update is, by the activations of a layer."""
    sizes: Tensor = act.float().abs() * weights.W_down(layer).float().norm(dim=0)
    return sizes
