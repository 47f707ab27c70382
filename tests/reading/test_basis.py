"""Kurtosis by hand, merged shards, rotations of Gaussian and of heavy-tailed data, and a model's
points by brute force.
"""

import json

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tests.model.families import make

from loci.errors import ModelError
from loci.figures.reading import basis_figure
from loci.model import Model
from loci.reading.privileged_basis import bases, rotation
from loci.survey import Moments, Rows
from loci.text import sample_text

TEXTS = [
    "Michael Jordan plays the sport of basketball.",
    "The queen put her lamp near the river.",
    "Osaka is in Japan.",
    " ",
    "Lima.",
]


def kurtosis(x: np.ndarray) -> np.ndarray:
    """By the definition, in float64."""
    away = x.astype(np.float64) - x.astype(np.float64).mean(0)
    return (away**4).mean(0) / (away**2).mean(0) ** 2 - 3


NOWHERE = Rows(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))


def of(vectors: torch.Tensor, turn: torch.Tensor | None = None) -> Moments:
    moments = Moments(turn)
    moments.update(vectors[None], NOWHERE)
    return moments


@example(50, 1, 2, 1e4)
@given(st.integers(0, 1000), st.integers(1, 30), st.integers(2, 30), st.sampled_from([0.0, 1e4]))
def test_merged_shards_are_one_pass(seed: int, a: int, b: int, offset: float) -> None:
    """Also far from zero, where sums of raw powers cancel."""
    x = (
        torch.randn(
            a + b, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        ).exp()
        + offset
    )
    streamed, left = of(x[:a]), of(x[:a])
    streamed.update(x[None, a:], NOWHERE)
    left.merge(of(x[a:]))
    left.merge(Moments())
    for tails in (streamed, left):
        assert tails.count == a + b
        np.testing.assert_allclose(tails.mean.numpy(), x.numpy().mean(0), rtol=1e-12)
        # coordinates that vary by less than a millionth of their mean have none
        varies = x.numpy().var(0) > 1e-12 * x.numpy().mean(0) ** 2
        wanted = np.where(varies, kurtosis(x.numpy()), np.nan)
        np.testing.assert_allclose(tails.kurtosis.numpy(), wanted, atol=1e-6, rtol=1e-6)


def test_a_coordinate_that_never_varies_has_no_kurtosis() -> None:
    x = torch.stack([torch.zeros(50), torch.full((50,), 0.1), torch.randn(50)], 1)
    assert of(x).kurtosis.isnan().tolist() == [True, True, False]
    with pytest.raises(ValueError, match="nothing"):
        _ = Moments().mean


@pytest.mark.parametrize(("width", "columns"), [(16, 16), (16, 5), (5, 16)])
def test_rotations_are_orthonormal(width: int, columns: int) -> None:
    Q = rotation(width, columns)
    assert Q.shape == (width, min(width, columns))
    torch.testing.assert_close(Q.T @ Q, torch.eye(Q.shape[1], dtype=Q.dtype))
    assert torch.equal(Q, rotation(width, columns))
    assert not torch.equal(Q, rotation(width, columns, seed=1))


def test_a_rotation_hides_heavy_tails_and_leaves_a_gaussian_as_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 32, generator=generator, dtype=torch.float64)
    Q = rotation(32, 32)
    for turn in (None, Q):
        assert of(x, turn).kurtosis.abs().mean() < 0.1
    sparse = x * (torch.rand(x.shape, generator=generator) < 0.1)
    own, turned = of(sparse).kurtosis.mean(), of(sparse, Q).kurtosis.mean()
    assert own == pytest.approx(3 / 0.1 - 3, rel=0.1), "E[x⁴] = 3p and E[x²] = p"
    assert turned < 0.2 * own
    mixed = x @ torch.randn(32, 32, generator=generator, dtype=torch.float64)
    assert of(mixed, Q).kurtosis.abs().mean() < 0.1, "whatever its covariance"


@torch.no_grad()
def test_every_place_against_brute_force(tiny: Model) -> None:
    found = bases(tiny, TEXTS)
    points = [*tiny.names("resid_post"), *tiny.names("mlp_act")]
    acts: dict[str, list[np.ndarray]] = {point: [] for point in points}
    for text in filter(str.strip, TEXTS):
        with tiny.watch(*points) as at:
            tiny(tiny.ids([tiny.tokenize(text).ids]))
        for point in points:
            acts[point].append(at[point][0, 1:].numpy())
    expected = [tiny.W_E.numpy(), *(np.concatenate(rows) for rows in acts.values())]
    assert [row.space for row in found.rows] == ["embedding", *["residual"] * 3, *["neurons"] * 3]
    assert [row.layer for row in found.rows] == [None, 0, 1, 2, 0, 1, 2]
    for row, x in zip(found.rows, expected, strict=True):
        assert (row.vectors, row.width, row.left_out) == (*x.shape, 0)
        assert row.own.value == pytest.approx(kurtosis(x).mean(), abs=1e-3)
        assert row.own_median.value == pytest.approx(np.median(kurtosis(x)), abs=1e-3)
        turned = x.astype(np.float64) @ rotation(x.shape[1], found.columns).numpy()
        assert row.rotated.value == pytest.approx(kurtosis(turned).mean(), abs=1e-3)
    assert found.tokens == found.rows[1].vectors
    assert found.texts == 4


def test_neurons_of_the_embedded_model_have_a_basis_of_their_own(demo: Model) -> None:
    found = bases(demo, sample_text(demo, 4000))
    for row in found.of("neurons"):
        assert row.own_median.low > 5 * row.rotated_median.high
    for row in found.of("residual"):
        assert abs(row.own_median.value) < 4
    assert json.loads(json.dumps(found.to_dict()))["schema"] == "loci.bases/1"
    assert len(basis_figure(found).data) == 4


@pytest.mark.parametrize("name", ["llama", "pythia", "gemma2", "mixtral"])
def test_other_families(name: str, demo: Model) -> None:
    found = bases(make(name, demo), TEXTS, columns=8)
    assert ("neurons" in found.missing) == (name == "mixtral") == (not found.of("neurons"))
    assert name != "mixtral" or "mixtures of 4 experts" in found.missing["neurons"]
    assert all(
        row.own.n == row.width and row.rotated.n == 8 for row in found.rows if not row.left_out
    )
    assert basis_figure(found).data


def test_what_cannot_be_asked(tiny: Model) -> None:
    for texts in ([], ["", " "]):
        with pytest.raises(ModelError, match="no text"):
            bases(tiny, texts)
    with pytest.raises(ModelError, match="two coordinates"):
        bases(tiny, TEXTS, columns=1)
