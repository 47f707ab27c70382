"""Angles in blocks against all cosines at once; packings against what is known to be best."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loci.errors import SuperpositionError
from loci.studies.superposition import angles, expected_share, pack, video
from loci.studies.superposition.packing import Push, drawn, summed
from loci.studies.superposition.pairwise_angles import BINS
from loci.studies.superposition.video_experiment import CUTOFF, _slope, as_shown


@given(st.integers(2, 60), st.integers(2, 8), st.integers(1, 20), st.integers(0, 99))
def test_blocks_agree_with_all_at_once(count: int, dim: int, block: int, seed: int) -> None:
    x = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) * 3
    found = angles(x, block=block)
    unit = x.double() / x.double().norm(dim=1, keepdim=True)
    gram = unit @ unit.T
    pairs = gram[torch.ones(count, count, dtype=torch.bool).triu(1)]
    assert int(found.counts.sum()) == found.pairs == len(pairs)
    assert found.closest == pytest.approx(math.degrees(math.acos(min(1, pairs.max()))), abs=0.05)
    assert found.closest_line == pytest.approx(
        math.degrees(math.acos(min(1, pairs.abs().max()))), abs=0.05
    )
    i, j = found.closest_pair
    assert i < j and gram[i, j] == pytest.approx(float(pairs.max()), abs=1e-5)
    assert torch.allclose(
        found.nearest.double(), (gram - torch.eye(count)).abs().amax(1), atol=1e-5
    )
    expected = torch.histc(pairs.float(), BINS, -1, 1)
    assert (found.counts - expected).abs().sum() <= 0.02 * len(pairs) + 4, (
        "rounding may move a pair to the next bin"
    )


def test_shares_against_the_exact_distribution() -> None:
    found = angles(drawn(100, 3000))
    assert found.share(89, 91) == pytest.approx(0.1375, abs=0.002)
    for width in (1, 5, 10):
        assert found.share(90 - width, 90 + width) == pytest.approx(
            expected_share(100, width), abs=0.004
        )
    assert found.share(0, 180) == 1 and sum(found.by_degree()) == pytest.approx(1)
    assert found.beyond(0.9) == 0


def test_random_pairs_within_a_degree() -> None:
    """Published shares of random pairs within 1° and 5° of a right angle."""
    for dim, one in ((100, 0.1375), (768, 0.371), (12288, 0.947)):
        assert expected_share(dim, 1) == pytest.approx(one, abs=5e-4)
    assert [round(expected_share(d, 5), 3) for d in (100, 768)] == [0.614, 0.984]


def test_tiny_angles_are_precise() -> None:
    """The pair is found in float32, its angle measured in float64."""
    found = angles(torch.tensor([[1.0, 0.0, 0.0], [1.0, 1e-4, 0.0], [0.0, 0.0, 1.0]]))
    assert found.closest == pytest.approx(math.degrees(1e-4), rel=1e-3) and found.closest_pair == (
        0,
        1,
    )
    found = angles(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 1e-5, 0.0]]))
    assert found.closest_line == pytest.approx(
        math.degrees(1e-5), rel=1e-3
    ) and found.closest_line_pair == (0, 2)
    assert found.closest == pytest.approx(90, abs=1e-2)


@pytest.mark.parametrize(
    "x", [torch.zeros(3, 4), torch.ones(1, 4), torch.ones(4), torch.full((3, 2), torch.nan)]
)
def test_no_directions(x: torch.Tensor) -> None:
    with pytest.raises(SuperpositionError):
        angles(x)


def test_gradient_by_blocks() -> None:
    """The blocked sum is the gradient of the energy, by autograd on all pairs at once."""
    x = drawn(5, 23).double().requires_grad_()
    for lines in (True, False):
        gram = x @ x.T
        terms = (gram.square() if lines else gram)[torch.ones(23, 23, dtype=torch.bool).triu(1)]
        (7.0 * (terms - 0.5)).exp().sum().backward()
        push = Push(7.0, lines, 0.5)
        by_hand = summed(x.detach(), push, block=6) * (14 if lines else 7)
        tangent = [
            g - (g * x.detach()).sum(1, keepdim=True) * x.detach() for g in (by_hand, x.grad)
        ]
        assert torch.allclose(*tangent)
        x.grad = None


def test_gradient_of_the_video() -> None:
    x = (drawn(5, 23).double() * 1.1).requires_grad_()
    D = x @ x.T
    off = D - torch.eye(23)
    loss = (off.abs() - CUTOFF).relu().sum() + 23 * off.diagonal().square().sum()
    loss.backward()
    excess = off.diagonal().detach()[:, None]
    own = 2 * ((excess.abs() > CUTOFF) * excess.sign() + 2 * 23 * excess) * x.detach()
    assert torch.allclose(2 * summed(x.detach(), _slope, block=7) + own, x.grad)


def test_best_known_packings_are_reached() -> None:
    icosahedron = math.degrees(math.acos(5**-0.5))
    assert pack(3, 12, lines=False, steps=200).closest == pytest.approx(icosahedron, abs=0.2)
    assert pack(3, 6, steps=200).closest == pytest.approx(icosahedron, abs=0.2)
    assert pack(4, 5, steps=200).closest == pytest.approx(math.degrees(math.acos(1 / 4)), abs=8)


def test_pushing_apart_beats_the_draw_and_not_the_bound() -> None:
    found = pack(20, 200, steps=150)
    assert found.drawn + 15 < found.closest <= found.reach.lines.limit
    assert torch.allclose(found.vectors.norm(dim=1), torch.ones(200), atol=1e-5)
    assert found.closest == angles(found.vectors).closest_line


def test_the_video_collapses_and_the_window_hides_it() -> None:
    found = video(400, 20, seed=0)
    assert found.shown.share(89, 91) > 0.9, "it looks nearly perpendicular"
    assert found.near_parallel > 0.03 and found.shown.closest_line < 5, (
        "1/20 of the pairs are nearly parallel"
    )
    assert found.twins > 0.1
    assert found.most_within_1 == 20 and found.honest.closest > found.drawn.closest_line
    document = found.to_dict()
    assert document["limit"] == pytest.approx(found.honest.reach.lines.limit)


def test_as_shown_leaves_its_input_alone() -> None:
    x = drawn(10, 30)
    before = x.clone()
    as_shown(x, 3)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("dim", "count", "steps"), [(1, 10, 5), (10, 0, 5), (10, 1, 5), (10, 5, 0)]
)
def test_nothing_to_pack(dim: int, count: int, steps: int) -> None:
    with pytest.raises(SuperpositionError):
        pack(dim, count, steps=steps)
    if steps:
        with pytest.raises(SuperpositionError):
            video(count, dim)
