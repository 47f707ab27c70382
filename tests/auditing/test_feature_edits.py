"""Moves of features against the whole output, and against a finite difference."""

from dataclasses import replace

import pytest
import torch
from tests.dictionaries.test_graphs import exact

from loci.auditing import audit_feature_edits
from loci.auditing.feature_edits import OutputMove, _asked, _slope, feature_moves
from loci.errors import DictionaryError
from loci.facts import Fact, FactSet
from loci.model import Model

WISH = Fact("Michael Jordan", "{} plays the sport of", "basketball", new_answer="tennis")
DONOR = Fact("Roger Federer", "{} plays the sport of", "tennis")


def test_all_features_of_an_exact_dictionary_are_the_whole_output(demo: Model) -> None:
    moves = feature_moves(demo, exact(demo, 0), WISH, DONOR, clamped=demo.d_mlp)
    assert torch.allclose(moves["clamp"], moves["everything"], atol=1e-4)
    few = feature_moves(demo, exact(demo, 0), WISH, DONOR, clamped=3)
    assert few["clamp"].norm() > 0 and not torch.allclose(few["clamp"], moves["clamp"])


def test_the_slope_is_a_finite_difference(demo: Model) -> None:
    ids, end, (old, new) = _asked(demo, WISH)
    slope = _slope(demo, ids, end, "mlp_out.1", (old, new))
    step = 0.02 * slope / slope.norm()

    def gap(sign: int) -> float:
        with OutputMove(WISH.subject, "mlp_out.1", sign * step).applied(demo):
            logits = demo(ids)[0, -1]
        return float((logits[new] - logits[old]).detach())

    measured = (gap(1) - gap(-1)) / 0.04
    assert measured == pytest.approx(float(slope.norm()), rel=0.05)


def test_prompts_without_the_subject_stay(demo: Model) -> None:
    move = OutputMove("Michael Jordan", "mlp_out.0", 5 * torch.ones(demo.d_model))
    for text, same in (("Roger Federer plays the sport of", True), (WISH.text, False)):
        ids = demo.ids([demo.tokenize(text).ids])
        before = demo(ids)
        with move.applied(demo):
            assert torch.equal(demo(ids), before) is same
        assert torch.equal(demo(ids), before)


def test_one_examination_for_all(
    demo: Model, world: FactSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no patch in the place of ROME's, its row is that of no edit."""
    monkeypatch.setattr("loci.auditing.feature_edits.key_moments", lambda model, layers: None)
    monkeypatch.setattr("loci.auditing.feature_edits.edit", lambda model, facts, **said: None)
    found = audit_feature_edits(demo, exact(demo, 0), world, 1, neighbours=1, samples=2)
    assert found.of("no edit", "efficacy").value == 0
    assert found.metrics["rome"] == found.metrics["no edit"]
    assert len(found.tables()[0].rows) == 5 and found.to_dict()["edits"] == 1
    with pytest.raises(DictionaryError, match="MLP's output"):
        audit_feature_edits(demo, replace(exact(demo, 0), target="resid_post.0"), world, 1)
