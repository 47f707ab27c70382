"""Toy models against closed forms, known geometry, and hand-made weights."""

import math

import pytest
import torch

from loci.errors import SuperpositionError
from loci.studies.superposition import attack, computation, correlated, geometry, phase, toy
from loci.studies.superposition.phase_diagram import _cases, boundary, closed_form
from loci.studies.superposition.toy_model import dimensionality, interference_of, rebuilt, uniform


def polygon(n: int) -> torch.Tensor:
    turns = torch.arange(n) * 2 * math.pi / n
    return torch.stack([turns.cos(), turns.sin()])


def test_dimensionality_of_known_shapes() -> None:
    """Tight frames of N vectors in R^d have d/N each."""
    for n in (3, 5):
        assert torch.allclose(dimensionality(polygon(n)), torch.full((n,), 2 / n))
    tetrahedron = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).T
    assert torch.allclose(dimensionality(tetrahedron), torch.full((4,), 3 / 4))
    antiprism = torch.cat([polygon(4), polygon(4) @ torch.eye(4)], 1)
    turn = torch.tensor(
        [
            [math.cos(math.pi / 4), -math.sin(math.pi / 4)],
            [math.sin(math.pi / 4), math.cos(math.pi / 4)],
        ]
    )
    antiprism = torch.cat(
        [
            torch.cat([polygon(4), turn @ polygon(4)], 1),
            torch.tensor([[0.5**0.5] * 4 + [-(0.5**0.5)] * 4]),
        ]
    )
    assert torch.allclose(dimensionality(antiprism), torch.full((8,), 3 / 8), atol=1e-6)
    pair = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    assert dimensionality(pair).tolist() == pytest.approx([0.5, 0.5, 1])
    assert interference_of(pair).tolist() == pytest.approx([1, 1, 0])
    assert dimensionality(torch.zeros(2, 3)).tolist() == [0, 0, 0]


def test_capacity_is_at_most_the_dimension() -> None:
    W = torch.randn(50, 4, 9, generator=torch.Generator().manual_seed(0))
    assert (dimensionality(W).sum(-1) <= 4 + 1e-5).all()


def test_draws_have_the_density() -> None:
    x = uniform(torch.tensor([0.1, 1.0]), 10)(4000, torch.Generator().manual_seed(0))
    assert (x > 0).float().mean((1, 2)).tolist() == pytest.approx([0.1, 1], abs=0.01)
    assert float(x[1].mean()) == pytest.approx(0.5, abs=0.01)


def test_dense_models_keep_the_most_important_features_alone() -> None:
    found = toy(6, 2, (1.0,), importance=0.5, relu=False, steps=2000, batch=128)
    assert found.norms[0].gt(0.5).tolist() == [True, True, False, False, False, False]
    assert found.represented == [2] and found.superposition[0, :2].max() < 0.3


def test_pentagon() -> None:
    found = toy(5, 2, (0.05,), importance=1.0, runs=6, steps=900, batch=128)
    assert found.dimensionality[0].tolist() == pytest.approx([2 / 5] * 5, abs=0.03)
    assert found.represented == [5]


def test_runs_keep_the_best() -> None:
    one, many = (toy(4, 2, (0.1, 0.5), runs=runs, steps=150, batch=64) for runs in (1, 5))
    assert many.W.shape == one.W.shape == (2, 2, 4) and many.loss.shape == (2,)


def test_closed_form_boundary() -> None:
    assert boundary(1) == pytest.approx(4 / 7)
    for r in (0.1, 0.5, 1.0, 3.0, 10.0):
        s = torch.tensor(boundary(r), dtype=torch.float64)
        alone, other, pair = closed_form(s, torch.tensor(r, dtype=torch.float64)).tolist()
        assert pair == pytest.approx(min(alone, other)), "on the boundary the two best are equal"
        below = closed_form(s * 0.99, torch.tensor(r, dtype=torch.float64))
        assert int(below.argmin(0)) == 2


def test_closed_form_is_the_expected_loss() -> None:
    """Monte Carlo of the three solutions, which are also what the quadrature of training gives."""
    s, r = torch.tensor([0.4]), torch.tensor([0.7])
    solutions = [((1.0, 0.0), (0.0, 0.2)), ((0.0, 1.0), (0.2, 0.0)), ((1.0, -1.0), (0.0, 0.0))]
    x = uniform(s, 2)(200_000, torch.Generator().manual_seed(0))
    points, chance = _cases(s)
    importance = torch.tensor([1.0, 0.7])
    assert float(chance.sum()) == pytest.approx(1, abs=1e-5)
    for (w, b), expected in zip(solutions, closed_form(s, r)[:, 0].tolist(), strict=True):
        W, bias = torch.tensor([w]), torch.tensor(b)
        drawn = (importance * (x - rebuilt(W, bias, x, True)).square()).sum(-1).mean()
        exact = (
            chance[:, 0] * (importance * (points - rebuilt(W, bias, points, True)).square()).sum(-1)
        ).sum()
        assert float(drawn) == pytest.approx(expected, rel=0.02)
        assert float(exact) == pytest.approx(expected, rel=0.02)


def test_phase_diagram_agrees_with_the_closed_form() -> None:
    found = phase((0.05, 0.3, 0.45, 0.8, 0.95), (0.2, 1.0, 5.0), runs=6, steps=300)
    assert found.agreement.value >= 0.8 and found.agreement.n == 15
    assert found.found[0].tolist() == [2, 2, 2], "sparse: the pair, whatever the importance"
    assert (found.found[-1, 0], found.found[-1, 2]) == (0, 1), "dense: the more important alone"
    assert (found.trained <= found.losses.amin(0) * 1.01).all()


def test_geometry_names_plateaus() -> None:
    found = geometry(12, 4, (1.0, 0.02), steps=500, batch=128)
    assert found.toy.per_feature[0] > found.toy.per_feature[1]
    near = found.to_dict()["plateaus"]
    assert set(near) == {
        "1 alone",
        "3/4 tetrahedron",
        "2/3 triangle",
        "1/2 pair",
        "2/5 pentagon",
        "3/8 antiprism",
    }


def test_partners_that_come_together_are_orthogonal() -> None:
    found = correlated(runs=6, steps=1500, density=0.1)
    W = found.W["together"][0]  # the best run
    unit = W / W.norm(dim=0)
    gram = unit.T @ unit
    assert max(abs(gram[0, 1]), abs(gram[2, 3])) < 0.15
    assert gram[:2, 2:].min() < -0.9
    assert found.loss["apart"][0] <= found.loss["together"][0]


def test_attacks_get_easier_with_sharing() -> None:
    found = attack(20, 5, (1.0, 0.05), steps=700, batch=128)
    assert found.relative[0] == 1 and found.relative[1] > 3 and found.expected[1] > 1.5


def test_absolute_values_with_two_neurons_a_feature() -> None:
    found = computation(3, 8, (0.3,), importance=1.0, steps=1200, batch=128)
    assert found.computed == [3] and float(found.error.max()) < 0.1


@pytest.mark.parametrize(
    "ask",
    [
        lambda: toy(5, 0),
        lambda: toy(5, 6),
        lambda: toy(1, 1),
        lambda: toy(5, 2, (0.0,)),
        lambda: toy(5, 2, (math.nan,)),
        lambda: toy(5, 2, ()),
        lambda: toy(importance=0.0),
        lambda: phase(size=1),
        lambda: phase((2.0,)),
        lambda: correlated(density=0.9),
        lambda: correlated(pairs=0),
        lambda: computation(neurons=0),
    ],
)
def test_toys_that_are_none(ask) -> None:
    with pytest.raises(SuperpositionError):
        ask()
