"""The lesson's block: its truth table to the letter, leaks as computed by hand, and the block at a
true size.
"""

import math

import pytest

from loci.errors import WriteError
from loci.writing import SIZES, full_size, gate
from loci.writing.gates import step


def test_truth_table() -> None:
    first = gate().steps[0]
    assert [(case.name, case.pre, case.neuron) for case in first.cases] == [
        ("Michael Jordan", 1, 1),
        ("Michael Phelps", 0, 0),
        ("Alexis Jordan", 0, 0),
        ("Alexis Phelps", -1, 0),
    ]
    assert first.cases[0].writes == {"basketball": 1, "Chicago Bulls": 1, "23": 1}
    assert all(value == 0 for case in first.cases[1:] for value in case.writes.values())
    assert first.clean


@pytest.mark.parametrize("c", [0.05, 0.3, 0.7])
def test_nearly_perpendicular_names_leak_their_cosine(c: float) -> None:
    _, leaky, mended, _ = gate(c).steps
    full, michael, jordan, nobody = (case.neuron for case in leaky.cases)
    assert full == pytest.approx(1 + 2 * c)
    assert michael == pytest.approx(c)
    assert jordan == pytest.approx(c)
    assert nobody == 0
    assert not leaky.clean
    assert mended.clean
    assert mended.cases[0].neuron == pytest.approx(1 + c)


def test_gelu_does_not_close() -> None:
    soft = step("", "gelu", 0.0, -1.0)
    assert soft.cases[0].neuron == pytest.approx(0.5 * (1 + math.erf(1 / math.sqrt(2))))
    assert not soft.clean


def test_many_gates() -> None:
    crowded, shut, roomy, clean = gate().many
    assert roomy.recall.value == clean.recall.value == 1
    assert clean.leaks == 0 < roomy.leaks < crowded.leaks
    assert clean.active.value == pytest.approx(1 / clean.facts)
    assert shut.recall.value < crowded.recall.value


def test_a_whole_block_at_a_true_size() -> None:
    block = full_size("gpt2", 24)
    assert (block.d_model, block.facts) == SIZES["gpt2"]
    assert block.recall.value == 1
    assert block.single.value == 0
    assert block.active.value == pytest.approx(1 / block.facts)
    assert block.weights_bytes == 2 * 2 * 768 * 3072


@pytest.mark.parametrize("wrong", [-0.1, 1.0])
def test_bad_cosine(wrong: float) -> None:
    with pytest.raises(WriteError, match="cosine"):
        gate(wrong)


def test_bad_sizes() -> None:
    with pytest.raises(WriteError, match="no size"):
        full_size("gpt5")
    with pytest.raises(WriteError, match="names to ask for"):
        full_size("gpt2", 0)
    with pytest.raises(WriteError, match="no facts"):
        gate(many=[(0, 3, 8)])
