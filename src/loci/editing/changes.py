"""Changes of down projections as hooks of a running model: nothing is written, and gradients reach the factors.

mlp_raw ← mlp_raw + left (right act)        right [n, d_mlp], left [d_model, n]
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor

from loci.model import Model
from loci.patches import Factors

Changes = Mapping[int, tuple[Float[Tensor, "n d_mlp"], Float[Tensor, "d_model n"]]]
"""Right and left factors by layer."""


def adding(changes: Changes) -> dict[str, Any]:
    """The points at which `Model.patched` makes them."""
    acts: dict[int, Tensor] = {}

    def keep(layer: int, act: Tensor) -> None:
        acts[layer] = act

    def add(layer: int, out: Tensor) -> Tensor:
        right, left = changes[layer]
        return out + ((acts[layer].float() @ right.T) @ left.T).to(out.dtype)

    points: dict[str, Any] = {}
    for layer in changes:
        points[f"mlp_act.{layer}"] = partial(keep, layer)
        points[f"mlp_raw.{layer}"] = partial(add, layer)
    return points


def undone(model: Model, factors: Mapping[str, Factors]) -> Changes:
    """What takes a patch's changes of down projections away again; other weights stay changed."""
    return {
        int(name.partition(".")[2]): (right.float().to(model.device), -left.float().to(model.device))
        for name, (left, right) in factors.items()
        if name.startswith("W_down.")
    }
