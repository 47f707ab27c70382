"""Decoders against enumeration of all supports, and against the laws."""

import math
from itertools import combinations

import pytest
import torch

from loci.errors import SuperpositionError
from loci.studies.superposition import interference
from loci.studies.superposition.decoding import (
    DECODERS,
    error_rate,
    largest_for_all,
    supports,
    threshold,
    trial,
)
from loci.studies.superposition.interference_curves import dimensions_needed, features_of
from loci.studies.superposition.packing import drawn


def test_orthogonal_features_are_always_read() -> None:
    F = torch.eye(12)
    for name in DECODERS:
        hits, wrong = trial(F, 5, 50, name, torch.Generator().manual_seed(0))
        assert bool(hits.all()) and wrong == 0, name
    assert largest_for_all(F, 11) == 11 and error_rate(F, 5) == 0


@pytest.mark.parametrize("seed", range(6))
def test_every_set_by_enumeration(seed: int) -> None:
    F = drawn(30 + 10 * seed, 9, seed)

    def every(k: int) -> bool:
        for chosen in combinations(range(9), k):
            read = threshold(F, F[list(chosen)].sum(0, keepdim=True), k)[0]
            if read.nonzero().flatten().tolist() != list(chosen):
                return False
        return True

    largest = next((k - 1 for k in range(1, 9) if not every(k)), 8)
    assert largest_for_all(F, 8) == largest


def test_supports_are_sets() -> None:
    S = supports(20, 7, 100, torch.Generator().manual_seed(0))
    assert S.shape == (100, 7) and all(len(set(row)) == 7 for row in S.tolist())


def test_pursuit_solves_what_thresholds_cannot() -> None:
    F = drawn(64, 128)
    hits = {
        name: float(trial(F, 8, 60, name, torch.Generator().manual_seed(0))[0].double().mean())
        for name in DECODERS
    }
    assert hits["threshold"] < 0.2 and hits["pursuit"] > 0.9


def test_errors_follow_the_gaussian_law() -> None:
    F = drawn(128, 400)
    for k in (6, 12):
        wrong = trial(F, k, 300, "threshold", torch.Generator().manual_seed(1))[1]
        assert wrong == pytest.approx(error_rate(F, k), rel=0.15)
    tight = torch.cat([torch.eye(16), features_of("explicit", 16, 40)])
    assert error_rate(tight, 3) > 0


def test_mean_square_cosine_from_the_smaller_matrix() -> None:
    F = drawn(20, 50).double()
    gram = (F @ F.T).square()
    mean = (gram.sum() - gram.diagonal().sum()) / (50 * 49)
    assert error_rate(F, 4) == pytest.approx(0.5 * math.erfc(0.5 / math.sqrt(8 * float(mean))))


def test_directions_of_each_kind() -> None:
    explicit = features_of("explicit", 64, 300)
    gram = explicit @ explicit.T - torch.eye(300)
    assert float(gram.abs().max()) == pytest.approx(1 / 8, abs=1e-6), (
        "the widest code that has so many"
    )
    learned = features_of("learned", 16, 32, steps=50)
    assert torch.allclose(learned.norm(dim=1), torch.ones(32), atol=1e-5)


def test_dimensions_grow_with_k_and_its_square() -> None:
    needed = dimensions_needed(128, (2, 4, 8), trials=40)
    every, typical, pursuit = needed.dims.values()
    assert all(a > b > c for a, b, c in zip(every[1:], typical[1:], pursuit[1:], strict=True))
    assert needed.power("every set, threshold") > needed.power("90 % of sets, threshold")


def test_result_is_whole() -> None:
    found = interference(32, 64, (1, 3), trials=40, steps=40)
    document = found.to_dict()
    assert [curve["kind"] for curve in document["curves"]] == ["random", "explicit", "learned"]
    assert all(len(curve["errors"]) == len(curve["law"]) == 2 for curve in document["curves"])
    assert set(document["needed"]["power"]) == set(document["needed"]["dims"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda: interference(1),
        lambda: interference(32, 3),
        lambda: interference(32, 64, ()),
        lambda: interference(32, 64, (0,)),
        lambda: interference(32, 64, (64,)),
        lambda: features_of("magic", 8, 8),
        lambda: features_of("explicit", 4, 10**6),
    ],
)
def test_questions_without_a_meaning(ask) -> None:
    with pytest.raises(SuperpositionError):
        ask()
