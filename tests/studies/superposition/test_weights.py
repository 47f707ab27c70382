"""Directions in weights: ranks and capacities against plain definitions, on matrices whose values
are known.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loci.errors import SuperpositionError
from loci.model import Model
from loci.studies.superposition import file_angles, save_vectors, weight_angles
from loci.studies.superposition.weight_directions import space


def test_orthonormal_and_repeated_directions() -> None:
    one = space("basis", torch.eye(16) * 3)
    assert one.effective_rank == pytest.approx(16) and one.participation == pytest.approx(16)
    assert one.capacity == pytest.approx(16) and one.per_dimension == pytest.approx(1)
    assert one.angles.closest_line == pytest.approx(90) and one.limit == 90
    four = space("copies", torch.eye(16).repeat(4, 1))
    assert four.per_dimension == pytest.approx(4) and four.angles.closest == pytest.approx(
        0, abs=1e-3
    )


def test_against_plain_definitions() -> None:
    x = torch.randn(60, 9, generator=torch.Generator().manual_seed(0))
    x[:, 0] += 2
    found = space("x", x)
    unit = (x / x.norm(dim=1, keepdim=True)).double()
    gram = unit @ unit.T
    assert found.capacity == pytest.approx(float((1 / gram.square().sum(1)).sum()), rel=1e-5)
    assert found.mean_cosine == pytest.approx(float((gram.sum() - 60) / (60 * 59)), rel=1e-4)
    p = torch.linalg.svdvals(x.double())
    q = p / p.sum()
    assert found.effective_rank == pytest.approx(float((-(q * q.log()).sum()).exp()), rel=1e-5)
    assert found.participation == pytest.approx(
        float(p.square().sum() ** 2 / p.pow(4).sum()), rel=1e-5
    )
    assert abs(space("x", x, centre=True).mean_cosine) < found.mean_cosine / 3


def test_zeros_are_left_out_and_samples_drawn() -> None:
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    x[7] = 0
    found = space("x", x, sample=20)
    assert (found.total, found.zeros, found.angles.vectors) == (50, 1, 20)


def test_every_space_of_a_model(tiny: Model) -> None:
    found = weight_angles(tiny)
    assert [(s.name, s.layer) for s in found.spaces[:4]] == [
        ("keys", 0),
        ("keys", 1),
        ("keys", 2),
        ("values", 0),
    ]
    assert found.of("embeddings")[0].total == tiny.d_vocab
    assert not found.of("unembeddings"), "tied"
    again = space("values", tiny.W_down(1).T)
    assert found.of("values")[1].angles.closest_line == again.angles.closest_line
    assert all(
        s.angles.closest_line <= s.limit + 1e-6 and s.capacity <= s.angles.dim + 1e-3
        for s in found.spaces
    )
    assert found.to_dict()["schema"] == "loci.superposition_weights/1"


def test_random_weights_look_random(tiny: Model) -> None:
    keys = weight_angles(tiny).of("keys")[0]
    assert keys.angles.median_nearest == pytest.approx(keys.random.median_nearest, abs=2)


def test_files(tmp_path: Path) -> None:
    save_vectors(torch.eye(5), tmp_path / "v.safetensors")
    assert file_angles(tmp_path / "v.safetensors").spaces[0].capacity == pytest.approx(5)
    others = {
        "b": torch.ones(3),
        "c": torch.eye(3).to(torch.float8_e4m3fn),
        "d": torch.eye(3).int(),
    }
    save_file(others, tmp_path / "none.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"nothing")
    for name, words in (("none", "no matrix"), ("junk", "no readable"), ("missing", "no readable")):
        with pytest.raises(SuperpositionError, match=words):
            file_angles(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize(
    "x", [torch.ones(5), torch.ones(5, 1), torch.zeros(5, 3), torch.full((5, 3), torch.nan)]
)
def test_no_directions(x: torch.Tensor) -> None:
    with pytest.raises(SuperpositionError):
        space("x", x)
