"""A sweep against the edits and traces that it is made of."""

import pytest
import torch

from loci.auditing import Sweep, sweep
from loci.editing.edit import edit
from loci.errors import EditError, FactError
from loci.facts import Fact
from loci.locating import trace
from loci.model import Model, score_answers


def test_cells_are_single_edits_and_traces(tiny: Model) -> None:
    wish = Fact("Michael Jordan", "{} plays the sport of", "golf").to("chess")
    before = tiny.fingerprint
    found = sweep(tiny, [wish], samples=3)
    assert tiny.fingerprint == before
    traced = trace(tiny, wish, kinds=("mlp",), samples=3)
    torch.testing.assert_close(found.effects[0], traced.grids["mlp"][:, traced.subject_span[1] - 1])
    refused = 0
    for layer in range(3):
        try:
            patch = edit(tiny, [wish], layers=[layer])
        except EditError:
            refused += 1
            assert (found.success[0, layer], found.greedy[0, layer]) == (0, 0)
            continue
        with patch.applied(tiny):
            score = score_answers(tiny, [(wish.text, "chess")])[0]
        assert float(found.success[0, layer]) == pytest.approx(score.probability, rel=1e-4)
        assert float(found.greedy[0, layer]) == float(score.greedy)
    assert found.failed == refused < 3
    document = found.to_dict()
    assert document["schema"] == "loci.sweep/1"
    assert len(document["layers"]) == 3


def test_correlation_is_within_facts() -> None:
    """Facts differ in level; what counts is whether their layers rank alike."""
    effects = torch.tensor([[0.1, 0.2, 0.3], [0.7, 0.8, 0.9], [0.5, 0.5, 0.5]])
    same = Sweep(
        "m",
        True,
        3,
        0,
        0,
        torch.tensor([[0.9, 0.95, 1.0], [0.1, 0.2, 0.3], [0.0, 0.5, 1.0]]),
        effects,
        effects,
    )
    assert same.correlation.value == pytest.approx(1.0)
    assert same.correlation.n == 2, "a fact whose effect is the same everywhere says nothing"
    other = Sweep("m", True, 3, 0, 0, effects.flip(1), effects, effects)
    assert other.correlation.value == pytest.approx(-1.0)


def test_nothing_to_edit(tiny: Model) -> None:
    with pytest.raises(FactError, match="no facts to edit"):
        sweep(tiny, [])
