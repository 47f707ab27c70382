"""The step of a target's search; what it finds is asked in test_edit."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from loci.editing.descent import stepped


@given(st.integers(0, 10**6), st.floats(0.01, 10))
def test_a_linear_loss_is_brought_to_zero(seed: int, reach: float) -> None:
    """Or as near to it as the longest step comes, straight down; each row by itself, and none where
    there is no slope.
    """
    made = torch.Generator().manual_seed(seed)
    x, grad = (
        torch.randn(4, 5, generator=made, dtype=torch.float64),
        torch.randn(4, 5, generator=made, dtype=torch.float64),
    )
    grad[3] = 0
    loss = torch.rand(4, generator=made, dtype=torch.float64)
    moved = stepped(x, grad, loss, torch.full((4, 1), reach, dtype=torch.float64)) - x
    left = loss + (moved * grad).sum(-1)
    assert (left > -1e-9).all()
    assert (moved.norm(dim=-1) <= reach * (1 + 1e-9)).all()
    for row in range(3):
        assert abs(left[row]) < 1e-9 or abs(moved[row].norm() - reach) < 1e-9
        torch.testing.assert_close(moved[row] / moved[row].norm(), -grad[row] / grad[row].norm())
    assert not moved[3].any()
