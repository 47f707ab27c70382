"""How far two numbers may be apart by rounding alone, and which weights are no numbers."""

from collections.abc import Iterator

import torch
from torch import Tensor

from loci.model.modules import Modules

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def difference(actual: Tensor, expected: Tensor) -> float:
    """max |found − expected| / max |expected|; infinite where either is not finite."""
    scale = float(expected.abs().max()) or 1.0
    error = float((actual - expected).abs().max()) / scale
    return error if error == error else float("inf")


def tolerance(model: Modules) -> float:
    """Relative error that the rounding of the model's dtype explains."""
    return TOLERANCE.get(model.dtype, 1e-2)


def not_finite(model: Modules) -> Iterator[str]:
    """Names of the weights in memory that hold NaN or infinity."""
    return (
        name for name, p in model.hf.named_parameters() if not p.is_meta and not p.isfinite().all()
    )


def broken(model: Modules) -> str:
    """Why a model's numbers are not finite: which weight holds NaN or infinity, if one does. Reads
    all weights.
    """
    for name in not_finite(model):
        return f"its weight {name} holds NaN or infinity, so the checkpoint is broken"
    return f"{model.dtype_name} may be too narrow for it"
