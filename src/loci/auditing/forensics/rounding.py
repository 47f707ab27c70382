"""The effect of rounding alone on a weight: a checkpoint saved in a narrower dtype differs
everywhere, and nobody edited it.

    ulp(w) = ε · 2^⌊log₂ |w|⌋           spacing of a dtype's numbers at w, and not below that of its
                                        smallest
    s_ij   = ulp(W_ij) / √12            standard deviation of an error that is even over ± ulp/2
    floor  = max_i ‖s_i·‖ + max_j ‖s_·j‖    what the spectral norm of such an error does not exceed,
                                            up to a factor near 1

Source of the last line: Bandeira and van Handel 2016, theorem 1.1.
"""

import torch
from jaxtyping import Float
from torch import Tensor

GRIDS = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
"""Coarsest first."""


def grid(values: Tensor) -> torch.dtype:
    """The coarsest dtype that holds every value exactly: what a tensor was once rounded to,
    whatever it is kept in now."""
    wide = values.double()
    return next(dtype for dtype in GRIDS if torch.equal(wide.to(dtype).double(), wide))


def spacing(values: Float[Tensor, "*any"], dtype: torch.dtype) -> Float[Tensor, "*any"]:
    """ulp of each value in a dtype, in float64."""
    info = torch.finfo(dtype)
    exponent = torch.frexp(values.double().abs().clamp(min=info.smallest_normal))[1] - 1
    return torch.ldexp(torch.full_like(values, info.eps, dtype=torch.float64), exponent)


def noise_floor(values: Float[Tensor, "out in"], dtype: torch.dtype) -> float:
    """The largest singular value that rounding a matrix to a dtype is to be credited with."""
    variance = spacing(values, dtype).square() / 12
    return float(variance.sum(0).max().sqrt() + variance.sum(1).max().sqrt())


def is_rounding(before: Tensor, after: Tensor) -> bool:
    """Whether two tensors differ by no more than one step of the coarser grid, and rounding can
    have been at work.

    Two tensors on one coarse grid do not differ by rounding: a step there is a change. In float32
    it is what another machine gives.
    """
    grid_before, grid_after = grid(before), grid(after)
    coarse = min(grid_before, grid_after, key=GRIDS.index)
    if grid_before == grid_after and coarse not in (torch.float32, torch.float64):
        return False
    step = torch.maximum(spacing(before, coarse), spacing(after, coarse))
    return bool(((after.double() - before.double()).abs() <= step).all())
