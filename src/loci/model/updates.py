"""An MLP's output as a sum of sub-updates, one a neuron: Δx = Σᵢ aᵢ vᵢ + b (Geva et al. 2022)."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from loci.model.weights import Weights


def update_sizes(
    weights: Weights, layer: int, act: Float[Tensor, "*any d_mlp"]
) -> Float[Tensor, "*any d_mlp"]:
    """|aᵢ| · ‖vᵢ‖: how long each neuron's sub-update is, by the activations of a layer."""
    sizes: Tensor = act.float().abs() * weights.W_down(layer).float().norm(dim=0)
    return sizes


def key_value_cosines(weights: Weights, layer: int) -> Float[Tensor, " d_mlp"]:
    """cos(key, value) of every neuron: near −1 it takes away what it finds, near 1 it adds to it
    (Elhage et al. 2021).
    """
    return cosine_similarity(weights.W_key(layer).float(), weights.W_down(layer).float().T)
