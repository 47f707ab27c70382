"""Changes of down projections as hooks of a running model: nothing is written, and gradients reach
the factors.

mlp_raw ← mlp_raw + left (right act)        right [n, d_mlp], left [d_model, n]
"""

from collections.abc import Mapping
from functools import partial

from jaxtyping import Float
from torch import Tensor

from loci.model import Edit
from loci.model.hooks import adding

Changes = Mapping[int, tuple[Float[Tensor, "n d_mlp"], Float[Tensor, "d_model n"]]]
"""Right and left factors by layer."""


def making(changes: Changes) -> dict[str, Edit]:
    """The points at which `Model.patched` makes them."""
    return adding(
        "mlp_act",
        "mlp_raw",
        {layer: partial(_written, *factors) for layer, factors in changes.items()},
    )


def _written(right: Tensor, left: Tensor, act: Tensor) -> Tensor:
    return (act.float() @ right.T) @ left.T
