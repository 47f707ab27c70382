"""A patch's sums as a checkpoint will hold them: W' = round(W + Δ), in the dtype, the orientation
and the tensor that W is stored in.

ε = ‖W' − (W + Δ)‖ / ‖Δ‖      what rounding to the stored dtype takes from the change, or adds to it
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from loci.errors import PatchError
from loci.model import Weights
from loci.model.stored import Stored, StoredTensor
from loci.patches.factors import Factors, check_shape, rounded
from loci.patches.patch import Patch
from loci.patches.places import WeightRows, place_of


@dataclass(frozen=True)
class Rewritten:
    """One stored tensor, before and after."""

    stored: StoredTensor
    parameter: str
    """The model's own name for it."""
    before: Tensor
    after: Tensor
    rounding: dict[str, float]
    """ε of each weight in it, by the patch's names."""


def sums(patch: Patch, model: Weights, base: Stored) -> list[Rewritten]:
    """Every stored tensor that the patch changes, with its new values.

    Raises `PatchError` where a change does not fit, where a sum is not finite in the stored dtype,
    and where a weight is not stored as the model holds it. Cost: the tensors that change, twice,
    and one of them in float64.
    """
    parts: dict[str, list[tuple[str, WeightRows, Factors]]] = {}
    for name, factors in patch.factors.items():
        weight, place = model.weight(name), place_of(model, name)
        check_shape(name, weight.shape, factors)
        parts.setdefault(place.parameter, []).append((name, place, factors))
    return [_rewritten(base, model, parameter, changes) for parameter, changes in parts.items()]


@torch.no_grad()
def _rewritten(
    base: Stored, model: Weights, parameter: str, changes: list[tuple[str, WeightRows, Factors]]
) -> Rewritten:
    tensor = base.find(parameter, model.parameter(parameter))
    if tensor is None:
        raise PatchError(
            f"{changes[0][0]}: no tensor in {base.folder} holds the numbers of {parameter} as the"
            " model has them, so the change cannot be written there: save the model with"
            " save_pretrained first, and open that"
        )
    before = tensor.read()
    after, rounding = before.clone(), {}
    for name, place, factors in changes:
        rows = (after.T if place.transposed else after)[place.start : place.stop]
        delta = factors.delta
        exact = rows.double() + delta
        rows.copy_(rounded(exact, after.dtype, f"{name} with the change added"))
        rounding[name] = float((rows.double() - exact).norm()) / (float(delta.norm()) or 1.0)
    return Rewritten(tensor, parameter, before, after, rounding)
