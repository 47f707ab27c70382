"""Explicit codes: every pair of small ones by dense products, large ones by classes and samples."""

import math
from random import Random

import numpy as np
import pytest
import torch

from loci.errors import SuperpositionError
from loci.studies.superposition import built, explicit_code, verify
from loci.studies.superposition.code_counts import block
from loci.studies.superposition.code_verification import walsh
from loci.studies.superposition.codes import CodeBlock
from loci.studies.superposition.finite_field import PRIMITIVE, FiniteField, field

SMALL = [
    (4, "kerdock"),
    (16, "kerdock"),
    (64, "kerdock"),
    (8, "gold"),
    (32, "gold"),
    (16, "delsarte-goethals"),
    (64, "hadamard"),
]


@pytest.mark.parametrize("m", range(1, 15))
def test_fields(m: int) -> None:
    own = FiniteField(m)
    assert sorted(own.exp.tolist()) == list(range(1, own.order + 1)), (
        "x walks round all of the field"
    )
    assert set(PRIMITIVE) == set(range(1, 21))
    random = Random(m)
    for _ in range(20):
        a, b, c = (random.randrange(own.order + 1) for _ in range(3))
        assert own.product(a, b ^ c) == own.product(a, b) ^ own.product(a, c), (
            "distributive, with addition as XOR"
        )
    traces = own.traces(1, 1)
    assert all(
        traces[a ^ b] == traces[a] ^ traces[b]
        for a in range(0, own.order + 1, 3)
        for b in (1, own.order)
    )
    assert traces.sum() == (own.order + 1) // 2, "half of all traces are 1"


def test_trace_of_powers_by_squaring() -> None:
    own = field(5)
    for x in range(1, 32):
        total, power = 0, x
        for _ in range(5):
            total ^= power
            power = own.product(power, power)
        assert own.traces(1, 1)[x] == total


def test_walsh_is_the_hadamard_product() -> None:
    rows = np.random.default_rng(0).integers(-3, 4, (5, 16)).astype(np.int32)
    parity = np.bitwise_count(np.arange(16)[:, None] & np.arange(16)) & 1
    assert (walsh(rows) == rows @ (1 - 2 * parity.astype(np.int32))).all()


@pytest.mark.parametrize(("dim", "kind"), SMALL)
def test_every_pair_of_small_codes(dim: int, kind: str) -> None:
    code = explicit_code(dim, kind=kind)
    vectors = code.vectors(range(code.count))
    gram = vectors @ vectors.T
    assert torch.allclose(gram.diagonal(), torch.ones(code.count, dtype=torch.float64))
    assert (gram - torch.eye(code.count)).abs().max() == pytest.approx(code.coherence, abs=1e-12)


@pytest.mark.parametrize(
    ("dim", "kind"),
    [
        (128, "gold"),
        (256, "kerdock"),
        (2048, "gold"),
        (32, "bch"),
        (128, "bch"),
        (16, "delsarte-goethals"),
    ],
)
def test_classes_cover_and_meet_the_promise(dim: int, kind: str) -> None:
    found = built(dim, kind=kind)
    (one,) = found.verified
    assert one.complete and one.found == one.promised == found.codes.coherence


@pytest.mark.parametrize(
    ("dim", "kind"), [(16, "kerdock"), (8, "gold"), (32, "bch"), (16, "delsarte-goethals")]
)
def test_classes_stand_for_all_pairs(dim: int, kind: str) -> None:
    """The spectra over all pairs of forms are those over the classes."""
    from loci.studies.superposition.code_verification import _class_count, _classes, _difference

    code = explicit_code(dim, kind=kind).parts[0]
    classes = list(_classes(code))
    assert len(classes) == _class_count(code)

    def spectrum(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
        row = 1 - 2 * _difference(code, (first, second)).astype(np.int32)
        return tuple(sorted(np.abs(walsh(row[None]))[0].tolist()))

    random = Random(0)
    pairs = [random.sample(range(code.forms), 2) for _ in range(300)]
    everywhere = {spectrum(code.elements(a), code.elements(b)) for a, b in pairs}
    assert everywhere <= {spectrum(*pair) for pair in classes}


def test_kerdock_meets_levenshtein() -> None:
    found = built(256)
    assert found.codes.count == 33024
    assert found.codes.angle == pytest.approx(86.417, abs=1e-3)
    assert math.log10(found.codes.count) == pytest.approx(found.limit, abs=1e-9)


def test_gpt3_at_89_degrees_by_index() -> None:
    code = explicit_code(12288, 89)
    assert code.count == 75_501_568
    assert code.angle == pytest.approx(89.1047, abs=1e-4)
    random = Random(0)
    chosen = [
        0,
        1,
        8192,
        2**26 - 1,
        2**26,
        code.count - 1,
        *(random.randrange(code.count) for _ in range(60)),
    ]
    gram = (vectors := code.vectors(chosen)) @ vectors.T
    assert (gram - torch.eye(len(chosen))).abs().max() <= code.coherence + 1e-12


def test_gold_of_8192_by_one_transform() -> None:
    (one,) = verify(explicit_code(8192, kind="gold"))
    assert one.classes == one.looked_at == 1 and one.found == 2**-6


def test_delsarte_goethals_samples_of_any_level() -> None:
    code = CodeBlock(block(8, 2))
    assert code.block.kind == "delsarte-goethals"
    random = Random(0)
    for _ in range(50):
        a, b = random.sample(range(2**20), 2)
        bits = code.quadratic(code.elements(a)) ^ code.quadratic(code.elements(b))
        assert np.abs(walsh(1 - 2 * bits.astype(np.int32)[None])).max() <= 256 / 4


def test_blocks_add_up() -> None:
    code = explicit_code(100, 80)
    assert (code.dim, code.count) == (100, 2148)
    vectors = code.vectors(range(code.count))
    assert (vectors @ vectors.T - torch.eye(2148)).abs().max() == pytest.approx(1 / 8)
    assert len(torch.unique(vectors, dim=0)) == 2148


def test_a_wrong_code_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        CodeBlock, "quadratic", lambda self, elements: np.zeros(self.block.dim, dtype=np.uint8)
    )
    (one,) = verify(explicit_code(64, kind="kerdock"))
    assert not one.holds and one.found == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((100, None, "kerdock"), "64 and 256"),
        ((12288, 89.5, None), "16,384 dimensions"),
        ((3, None, None), "4 dimensions are the fewest"),
        ((128, 85, "gold"), "82.819"),
        ((64, None, "golay"), "no family 'golay'"),
        ((1, None, None), "no dimension"),
        ((64, 90, None), "no angle"),
    ],
)
def test_sizes_that_cannot_be_built(asked: tuple, words: str) -> None:
    with pytest.raises(SuperpositionError, match=words):
        explicit_code(*asked)


def test_indices_outside() -> None:
    code = explicit_code(16)
    for index in (-1, code.count):
        with pytest.raises(SuperpositionError, match=r"0 … 143"):
            code.vector(index)
