"""Edits told without the base: planted in weights, found, read and taken back."""

import pytest
import torch

import loci
from loci.auditing.forensics import Candidate, WithoutBase, without_base
from loci.auditing.forensics.edit_traces import standing
from loci.auditing.forensics.written_answer import templates_of, written_answers
from loci.auditing.forensics.written_direction import (
    Whitening,
    WrittenDirection,
    written_direction,
)
from loci.editing import key_moments
from loci.errors import ModelError
from loci.facts import Fact
from loci.model import Model, at_subjects
from loci.patches import Factors, Patch
from loci.text import corpus_texts

LAYER = 2


def planted(seed: int, size: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A weight that was trained on keys of a decaying spectrum, their moment, and what was written
    along C⁻¹ k.
    """
    torch.manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(60, 60, dtype=torch.float64))[0]
    spectrum = torch.linspace(0, -4, 60, dtype=torch.float64).exp()
    C = (Q * spectrum) @ Q.T
    W = torch.randn(20, 60, dtype=torch.float64) @ (Q * spectrum.sqrt()) @ Q.T
    k, r = torch.linalg.cholesky(C) @ torch.randn(60, dtype=C.dtype), torch.randn(20).double()
    u = torch.linalg.solve(C, k)
    return W, C, size * torch.outer(r / r.norm(), u / (k @ u))


@pytest.mark.parametrize("seed", range(4))
def test_a_change_along_rare_keys_is_the_first_direction(seed: int) -> None:
    W, C, change = planted(seed, 100.0)
    keys = Whitening.of(C)
    before, after = written_direction(W, keys, 0), written_direction(W + change, keys, 0)
    assert after.ratio > 2 * before.ratio
    written = torch.nn.functional.normalize(change.sum(1), dim=0)
    assert abs(float(after.left @ written)) > 0.98
    assert float((after.delta - change).norm() / change.norm()) < 0.5


def test_the_estimate_is_the_change_where_nothing_else_is_there() -> None:
    W, C, change = planted(0, 3.0)
    found = written_direction(change, Whitening.of(C), 0)
    torch.testing.assert_close(found.delta, change, rtol=1e-6, atol=1e-8)
    S = torch.linalg.solve_triangular(Whitening.of(C).L, W.T, upper=False).T
    expected = torch.linalg.svdvals(S / S.norm(dim=1, keepdim=True))
    ratio = written_direction(W, Whitening.of(C), 0).ratio
    assert ratio == pytest.approx(float(expected[0] / expected[1]), rel=1e-4)


def test_layers_are_judged_by_their_siblings() -> None:
    def own(layer: int, ratio: float) -> WrittenDirection:
        return WrittenDirection(layer, ratio, torch.zeros(1), torch.zeros(1), 0.0)

    ratios = [1.1, 1.2, 1.15, 4.0, 1.2, 1.1]
    signs = standing([own(layer, ratio) for layer, ratio in enumerate(ratios)])
    assert signs[0].layer == 3 and signs[0].z > 10 > 2 > signs[1].z


def test_what_is_written_shows_in_its_template(demo: Model) -> None:
    """At the last layer the stream is read at once, so a token's own row brings it."""
    at = len(demo.tokenize("a").ids)
    token = demo.tokenize("a tennis").ids[at]
    row = torch.nn.functional.normalize(demo.W_U[token].double(), dim=0)
    subjects = templates_of([Candidate("Michael Jordan", ("{}",)), Candidate("Osaka", ("{}",))])
    assert subjects == {"{}": ["Michael Jordan", "Osaka"]}
    (first, *_) = written_answers(demo, demo.n_layers - 1, 500 * row, subjects)
    assert (first.token, first.template) == (" tennis", "{}") and first.strength > 0
    assert first.gain > 0.4


@pytest.fixture(scope="module")
def traced(demo: Model, jordan: Fact) -> tuple[WithoutBase, Patch, str]:
    """One edit of the embedded model along C⁻¹ k, and what is seen of it."""
    texts = list(corpus_texts())[:400]
    C = key_moments(demo, [LAYER], texts=texts)[LAYER].double()
    k = at_subjects(demo, [jordan], f"mlp_act.{LAYER}")[f"mlp_act.{LAYER}"][0].double()
    u = torch.linalg.solve(C + 1e-4 * C.diagonal().mean() * torch.eye(len(C)), k)
    torch.manual_seed(0)
    left = 60 * torch.nn.functional.normalize(torch.randn(demo.d_model), dim=0)
    factors = Factors(left[:, None], (u / (k @ u)).float()[None])
    patch = Patch("planted", demo.fingerprint, demo.name, {f"W_down.{LAYER}": factors}, (), {})
    with patch.applied(demo):
        found = without_base(demo, texts=texts)
        assert found.undo is not None
        with found.undo.applied(demo):
            says = loci.ask(demo, jordan.text).replies[0].answer
    return found, patch, says


def test_an_edit_is_seen_and_taken_back(traced: tuple[WithoutBase, Patch, str]) -> None:
    found, patch, says = traced
    assert found.edited and found.layers[0].layer == LAYER and "edited" in found.verdict
    assert found.undo is not None and says == "basketball"
    name = f"W_down.{LAYER}"
    change, undo = patch.factors[name].delta, found.undo.factors[name].delta
    assert float((change + undo).norm() / change.norm()) < 0.3
    plain = found.to_dict()
    assert plain["schema"] == "loci.without_base/1" and plain["layers"][0]["layer"] == LAYER


def test_an_untouched_model_is_not_accused(demo: Model) -> None:
    found = without_base(demo, texts=list(corpus_texts())[:400])
    assert not found.edited and found.undo is None and "nothing stands out" in found.verdict


def test_too_few_layers_are_refused(tiny: Model) -> None:
    with pytest.raises(ModelError, match="too few to compare"):
        without_base(tiny)
