"""What is measured of small models, against dense products and models written by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import loci
from loci.errors import CircuitError
from loci.studies.attention_only import (
    PHENOMENA,
    Recipe,
    SmallModel,
    bigrams,
    corners,
    made_text,
    phenomenon,
    sizes,
    skips,
    train,
)
from loci.studies.attention_only.skip_trigrams import tokens
from loci.studies.attention_only.synthetic_text import NOUNS, PREPOSITIONS, VERBS, noun
from loci.studies.attention_only.training import repeated_for, text_of

TINY = Recipe(layers=1, heads=1, d_head=64, steps=1, batch=2, context=32)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> SmallModel:
    return train(TINY, tmp_path_factory.mktemp("small") / "one")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> SmallModel:
    return train(
        replace(TINY, layers=2, heads=3, d_head=8), tmp_path_factory.mktemp("small") / "two"
    )


@torch.no_grad()
def test_one_head_cannot_keep_the_nouns_apart(one: SmallModel) -> None:
    """A head that finds the verb and moves both its nouns: P(right) = P(crossed),
    which is the bug.
    """
    model, grammar = one.model, made_text()
    width, rank = model.d_model, len(VERBS)
    basis = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(0))).Q
    basis = (
        torch.linalg.qr(torch.cat([torch.ones(width, 1), basis], 1)).Q[:, 1:].T
    )  # perpendicular to what a norm takes away
    verbs, nouns = basis[:rank], basis[rank : 2 * rank]
    for parameter in model.hf.parameters():
        if parameter.ndim > 1:
            parameter.zero_()
    model.W_E[:] = 0.1 * basis[-2]
    model.W_E[tokens(grammar, VERBS)] = verbs
    model.W_E[tokens(grammar, PREPOSITIONS)] = basis[-3]
    model.W_U[tokens(grammar, NOUNS)] = nouns
    model.W_Q(0)[0, 0] = basis[-3]
    model.W_K(0)[0, 0] = verbs.sum(0)
    model.W_V(0)[0, :rank] = verbs
    both = torch.stack(
        [sum(nouns[NOUNS.index(noun(verb, p))] for p in PREPOSITIONS) for verb in VERBS], 1
    )  # type: ignore[misc]
    model.W_O(0)[0, :, :rank] = both
    found = skips(one)
    for row in found.chances.values():
        assert row["right"].value == pytest.approx(row["crossed"].value, rel=0.05)
        assert row["right"].value > 3 * row["other"].value
    (head,) = found.heads
    assert head.right == pytest.approx(head.crossed, rel=0.1)
    assert head.looks["in"] > 0.1
    on = torch.zeros(len(VERBS), len(NOUNS), dtype=torch.bool)
    for i, verb in enumerate(VERBS):
        on[i, [NOUNS.index(noun(verb, p)) for p in PREPOSITIONS]] = True
    assert float(head.moves[on].min()) > float(head.moves[~on].max())


@torch.no_grad()
def test_moves_are_the_full_circuit(two: SmallModel) -> None:
    """W_U W_OV LN(W_E) by dense products, rows less their means."""
    model, grammar = two.model, made_text()
    E = model.W_E[tokens(grammar, VERBS)]
    read = E / (E - E.mean(1, keepdim=True)).square().mean(1, keepdim=True).sqrt()
    for head in skips(two).heads:
        dense = (
            read
            @ model.W_V(0)[head.head].T
            @ model.W_O(0)[head.head].T
            @ model.W_U[tokens(grammar, NOUNS)].T
        )
        assert torch.allclose(head.moves, dense - dense.mean(1, keepdim=True), atol=1e-6)


@torch.no_grad()
def test_corner_from_dense_matrices(two: SmallModel) -> None:
    """Σλ/Σ|λ| of the vocabulary × vocabulary matrices, and ‖W_QK W_OV‖ as it is written."""
    model, found = two.model, corners(two)
    rows = model.W_E.double()
    E = rows / (rows - rows.mean(1, keepdim=True)).square().mean(1, keepdim=True).sqrt()
    teller = int(found.carrier[-1])
    W_OV = (model.W_O(0)[teller] @ model.W_V(0)[teller]).double()
    for i, head in enumerate(found.heads):
        W_QK = (model.W_Q(1)[i].T @ model.W_K(1)[i]).double()
        values = torch.linalg.eigvals(E @ W_QK @ W_OV @ E.T)
        assert head.qk == pytest.approx(float(values.real.sum() / values.abs().sum()), abs=1e-3)
        composed = (W_QK @ W_OV).norm() / (W_QK.norm() * W_OV.norm()) * model.d_model**0.5
        assert head.composition[found.carrier] == pytest.approx(float(composed), rel=1e-4)
        own = (model.W_O(1)[i] @ model.W_V(1)[i]).double()
        effect = torch.linalg.eigvals(model.W_U.double() @ own @ E.T)
        assert head.ov == pytest.approx(float(effect.real.sum() / effect.abs().sum()), abs=1e-3)


@torch.no_grad()
def test_saved_is_the_fall_from_block_to_block(two: SmallModel) -> None:
    """Two blocks by hand, each without its first token."""
    said = repeated_for(two.model, text_of(two), two.recipe.seed)
    logs = two.model(said.ids)[:, :-1].log_softmax(-1).gather(-1, said.ids[:, 1:, None])[..., 0]
    first, again = (
        logs[:, at : at + said.length - 1].mean() for at in (said.start, said.start + said.length)
    )
    (found,) = sizes((two,)).saved
    assert found.value == pytest.approx(float(again - first), abs=1e-5) and found.n == len(said.ids)


@torch.no_grad()
def test_a_table_by_hand(tmp_path: Path) -> None:
    """A model whose logits are the text's own log P: no loss above the entropy."""
    grammar = made_text()
    small = train(replace(TINY, layers=0, heads=1, d_head=256), tmp_path / "zero")
    basis = torch.linalg.qr(torch.cat([torch.ones(256, 1), torch.eye(256)], 1)).Q[:, 1:].T
    small.model.W_E[: grammar.d_vocab] = basis[: grammar.d_vocab]
    logs = grammar.bigrams.clamp(min=1e-12).log().float()
    small.model.W_U[: grammar.d_vocab] = logs.T @ basis[: grammar.d_vocab] / 256**0.5
    small.model.W_U[grammar.d_vocab] = -30 * basis[: grammar.d_vocab].sum(0) / 256**0.5
    found = bigrams(small)
    assert found.above == pytest.approx(0, abs=1e-4)
    assert torch.allclose(found.table, found.text, atol=1e-3)
    assert torch.allclose(found.text.sum(1), torch.ones(len(found.words), dtype=torch.float64))


@pytest.mark.parametrize("name", PHENOMENA)
def test_every_phenomenon_from_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With trainings of one step: results, their JSON and their figures; models kept are found
    again.
    """
    shown = PHENOMENA[name]
    few = tuple(replace(recipe, batch=2, context=24) for recipe in shown.recipes)[-2:]
    monkeypatch.setitem(PHENOMENA, name, replace(shown, recipes=few))
    found = phenomenon(name, tmp_path, steps=1)
    assert found.to_dict()["schema"].startswith("loci.")
    assert len(loci.plot(found).data) > 0
    assert len(list(tmp_path.iterdir())) == len(few)
    monkeypatch.setattr("loci.studies.attention_only.phenomena.train", None)
    again = phenomenon(name, tmp_path, steps=1)
    assert rounded(again.to_dict()) == rounded(found.to_dict())


def rounded(value: Any) -> Any:
    """Six digits: linear algebra may differ in its last bit from call to call."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def test_refusals(one: SmallModel, two: SmallModel, tmp_path: Path) -> None:
    zero = train(replace(TINY, layers=0), tmp_path / "zero")
    with pytest.raises(CircuitError, match="no skip-trigrams"):
        skips(zero)
    with pytest.raises(CircuitError, match="takes two"):
        corners(one)
    with pytest.raises(CircuitError, match="differ in nothing else"):
        sizes((one, two))
    with pytest.raises(CircuitError, match="expected bigrams, skips"):
        phenomenon("smear")
