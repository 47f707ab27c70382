"""Forensics against changes that were planted: known weights, known ranks, known subjects."""

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import tiny_gpt2
from tests.model.families import make
from transformers import GPT2Config, GPT2LMHeadModel

import loci
from loci.auditing.forensics import (
    Candidate,
    alone,
    candidates_of,
    compare,
    forensics,
    load_candidates,
)
from loci.auditing.forensics.candidates import CONTEXTS, subject_keys
from loci.auditing.forensics.changed_answers import wearing
from loci.auditing.forensics.rounding import grid, is_rounding, noise_floor, spacing
from loci.auditing.forensics.spectra import drift, spectrum
from loci.auditing.forensics.subjects import THRESHOLD
from loci.cli.show import show
from loci.errors import FactError, ModelError
from loci.facts import FactSet
from loci.model import Model
from loci.survey import SecondMoment, survey
from loci.text import own_texts, sample_text

FAMILIES = ("gpt2", "llama", "pythia", "phi3", "gemma2", "opt")


def copied(model: Model) -> Model:
    return Model(copy.deepcopy(model.hf), model.tokenizer, "edited", model.layout)


def plant(
    model: Model,
    name: str,
    subjects: Sequence[Candidate],
    *,
    ridge: float = 1e-3,
    seed: int = 0,
    contexts: int = CONTEXTS,
) -> Model:
    """An edit of the ROME family, written here in numpy: Δ = R (Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹; with an
    infinite ridge, C is the identity.

    With `contexts` as the examiner takes them, his keys are the editor's, and the algebra is exact.
    """
    layer = name.partition(".")[2]
    point = f"{'mlp_act' if 'down' in name else 'mlp_in'}.{layer}"
    K = subject_keys(model, subjects, [point], contexts=contexts)[point].numpy().T
    moment = SecondMoment()
    survey(model, sample_text(model, 3000), {point: [moment]})
    C = moment.mean.numpy()
    C = np.eye(len(C)) if math.isinf(ridge) else C + ridge * np.diag(C).mean() * np.eye(len(C))
    R = np.random.default_rng(seed).normal(
        size=(model.d_model if "down" in name else model.d_mlp, K.shape[1])
    )
    left = np.linalg.solve(C, K)
    delta = R @ np.linalg.solve(K.T @ left, left.T)
    edited = copied(model)
    weight = edited.weight(name)
    with torch.no_grad():
        weight.add_(torch.from_numpy(delta * 0.3 * float(weight.norm()) / np.linalg.norm(delta)))
    return edited


@pytest.fixture(scope="module")
def people(world: FactSet) -> list[Candidate]:
    return [Candidate(candidate.subject) for candidate in candidates_of(world.sample(400, seed=3))][
        :300
    ]


# rounding
# --------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from([torch.float16, torch.bfloat16]))
def test_rounding_is_told_from_a_change(seed: int, dtype: torch.dtype) -> None:
    torch.manual_seed(seed)
    W = torch.randn(24, 40) * 0.3
    rounded = W.to(dtype).float()
    assert grid(rounded) == dtype
    assert is_rounding(W, rounded)
    assert is_rounding(rounded, W)
    error = (rounded - W).double()
    assert bool((error.abs() <= spacing(W, dtype) / 2 + 1e-12).all())
    assert float(torch.linalg.svdvals(error)[0]) <= noise_floor(W, dtype) * 1.05
    step = rounded.clone()
    step[3, 5] += rounded[3, 5].sign() * float(spacing(rounded[3, 5], dtype))
    assert not is_rounding(rounded, step), "one step on one grid is a change"
    more = W.clone()
    more[0, 0] += 0.1
    assert not is_rounding(W, more.to(dtype).float())


def test_spacing_is_nextafter() -> None:
    values = torch.tensor([1.0, 1.5, 3.0, 0.1, 1e-3, 6e-8, 0.0])
    by_hand = [
        float(torch.nextafter(v.half(), torch.tensor(math.inf).half()) - v.half()) for v in values
    ]
    assert spacing(values, torch.float16).tolist() == pytest.approx(by_hand)


# spectra
# --------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(3, 12), st.integers(3, 12))
def test_spectrum_is_the_svd(seed: int, rows: int, columns: int) -> None:
    M = torch.randn(
        rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    values, left, right = spectrum(M)
    torch.testing.assert_close(values, torch.linalg.svdvals(M), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close((left * values) @ right.T, M, atol=1e-6, rtol=1e-6)


def test_drift_of_a_rotation_is_its_angle() -> None:
    values = torch.diag(torch.tensor([5.0, 1.0, 0.5], dtype=torch.float64))
    angle = math.radians(30)
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]],
        dtype=torch.float64,
    )
    before, after = spectrum(values), spectrum(turn @ values)
    found = drift(before, after, turn @ values - values, 1)
    assert found.left == pytest.approx(30, abs=1e-4)
    assert found.right == pytest.approx(0, abs=1e-4)
    apart = torch.zeros(3, 3, dtype=torch.float64)
    apart[2, 2] = 0.1
    assert drift(before, spectrum(values + apart), apart, 1).touched == pytest.approx(0)
    apart[0, 2] = 0.1
    assert drift(before, before, apart, 1).touched == pytest.approx(0.5)


# changes and verdicts
# ------------------------------------------------------------------------------------------------


def test_no_change_and_rounding(tiny: Model) -> None:
    same = forensics(tiny, copied(tiny))
    assert same.weights == ()
    assert same.verdict.startswith("no change")
    half = copied(tiny)
    half.hf.bfloat16().float()
    found = forensics(tiny, half)
    assert found.verdict.startswith("rounding only")
    assert all(change.rank == 0 for change in found.weights)


def test_every_parameter_is_compared(tiny: Model) -> None:
    """One number in each parameter in turn: exactly that one is found, by its name."""
    for name in tiny.parameter_names:
        edited = copied(tiny)
        with torch.no_grad():
            edited.parameter(name).view(-1)[0] += 0.5
        [change] = compare(tiny, edited)
        assert change.norm == pytest.approx(0.5, rel=1e-5)
        assert change.rank == 1
        assert change.entries == pytest.approx(1 / edited.parameter(name).numel())
    assert compare(tiny, edited)[0].name == name, "the last norm has no other word"


def test_verdicts_name_the_deed(tiny: Model, people: list[Candidate]) -> None:
    edited = plant(tiny, "W_down.1", people[:4])
    assert "edits of rank 4 at W_down.1, as the ROME family" in forensics(tiny, edited).verdict
    trained = copied(tiny)
    with torch.no_grad():
        for weight in trained.hf.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    assert forensics(tiny, trained).verdict.startswith("training")
    assert forensics(tiny, tiny_gpt2(tiny, seed=5), people).verdict.startswith("not its base")
    adapted = copied(tiny)
    with torch.no_grad():
        for layer in range(3):
            adapted.matrix("q", layer).add_(
                torch.outer(torch.randn(96 if adapted.fused() else 32), torch.randn(32)) * 0.1
            )
    assert "low rank (at most 1)" in forensics(tiny, adapted).verdict


def test_edits_in_half_precision_keep_their_rank(tiny: Model, people: list[Candidate]) -> None:
    edited = plant(tiny, "W_down.1", people[:6])
    edited.hf.half().float()
    found = forensics(tiny, edited, people)
    [change] = [change for change in found.weights if not change.rounding]
    assert (change.name, change.rank) == ("W_down.1", 6)
    assert {subject.subject for subject in found.subjects[:6]} == {
        candidate.subject for candidate in people[:6]
    }


# subjects
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_planted_subjects_are_found(demo: Model, people: list[Candidate], family: str) -> None:
    """Among 300 names on a random model, exactly those edited come first."""
    model = make(family, demo)
    edited = plant(model, "W_down.1", people[:5])
    found = forensics(model, edited, people, answers=False)
    assert {subject.subject for subject in found.subjects[:5]} == {
        candidate.subject for candidate in people[:5]
    }
    assert found.searched == ("W_down.1",)
    assert found.directions == 5


def test_without_statistics_and_in_the_up_projection(demo: Model, people: list[Candidate]) -> None:
    model = make("llama", demo)
    for name in ("W_down.0", "W_up.0", "W_gate.1"):
        found = forensics(
            model, plant(model, name, people[:4], ridge=math.inf), people, answers=False
        )
        assert {subject.subject for subject in found.subjects[:4]} == {
            candidate.subject for candidate in people[:4]
        }, name
        assert found.ridge[name] >= 1, "no statistics were used, and it shows"
        json.dumps(found.to_dict(), allow_nan=False)


def test_several_layers_count_together(tiny: Model, people: list[Candidate]) -> None:
    edited = plant(tiny, "W_down.0", people[:6])
    with torch.no_grad():
        edited.weight("W_down.2").copy_(
            plant(tiny, "W_down.2", people[:6], seed=1).weight("W_down.2")
        )
    found = forensics(tiny, edited, people, answers=False)
    assert found.searched == ("W_down.0", "W_down.2")
    assert {subject.subject for subject in found.subjects[:6]} == {
        candidate.subject for candidate in people[:6]
    }


def test_a_short_list_that_was_all_edited(demo: Model, world: FactSet) -> None:
    """Words of the text stand beside them, so that not everyone is the average."""
    wanted = candidates_of(world.sample(3, seed=8))
    edited = plant(demo, "W_down.0", wanted, contexts=0)
    found = forensics(demo, edited, wanted, answers=False)
    assert len(found.suspected) == 3
    others = candidates_of(world.sample(3, seed=9))
    assert not forensics(demo, edited, others, answers=False).suspected


def test_other_statistics_than_the_editors(demo: Model, world: FactSet) -> None:
    """The examiner's text is the model's own, the editor's was another, and so are the texts before
    the subjects: 12 edits among 300 candidates of the embedded model.
    """
    candidates = candidates_of(world.sample(360, seed=4))[:300]
    edited = plant(demo, "W_down.0", candidates[:12], contexts=0)
    found = forensics(
        demo, edited, candidates, texts=own_texts(demo, 150, length=20, seed=2), answers=False
    )
    right = {candidate.subject for candidate in candidates[:12]}
    assert {subject.subject for subject in found.subjects[:12]} == right
    assert all(subject.score >= THRESHOLD for subject in found.suspected)
    assert len([subject for subject in found.suspected if subject.subject not in right]) <= 3


def test_answers_before_and_after(demo: Model, world: FactSet) -> None:
    before = demo.fingerprint
    candidates = candidates_of(world.about("Michael Jordan"))
    edited = plant(demo, "W_down.0", candidates, contexts=0)
    with wearing(demo, edited) as worn:
        assert worn.fingerprint == edited.fingerprint
    assert demo.fingerprint == before
    found = forensics(demo, edited, candidates)
    [jordan] = found.suspected
    assert {answer.prompt for answer in jordan.answers} == {
        fact.text for fact in world.about("Michael Jordan")
    }
    assert any(answer.old == "basketball" for answer in jordan.answers)
    assert len(jordan.writes) == 3
    assert demo.fingerprint == before
    document = json.loads(json.dumps(found.to_dict()))
    assert document["schema"] == "loci.forensics/1"
    assert {"name", "rank", "norm"} <= set(document["weights"][0])
    assert {"subject", "score"} <= set(document["subjects"][0])
    assert len(loci.plot(found).data) >= 3
    show(found)


# one checkpoint
# --------------------------------------------------------------------------------------------------


def test_alone(demo: Model, world: FactSet) -> None:
    assert not alone(demo).conspicuous, "the embedded model is not edited"
    edited = copied(demo)
    with torch.no_grad():
        weight = edited.weight("W_down.2")
        weight.add_(torch.outer(torch.randn(len(weight)), torch.randn(weight.shape[1])) * 0.1)
    found = alone(edited)
    assert {weight.name for weight in found.conspicuous} == {"W_down.2"}
    assert "W_down.2 stands out" in found.verdict
    assert loci.plot(found).data
    assert found.to_dict()["base"] is None
    show(found)


def test_alone_needs_siblings(tiny: Model, demo: Model) -> None:
    with pytest.raises(ModelError, match="too few"):
        alone(tiny)
    with pytest.raises(ModelError, match="mixture"):
        alone(make("mixtral", demo))


# bad input
# --------------------------------------------------------------------------------------------------


def test_what_cannot_be_compared(tiny: Model, demo: Model) -> None:
    wider = Model(
        GPT2LMHeadModel(GPT2Config(**{**tiny.config.to_dict(), "n_inner": 64})),
        tiny.tokenizer,
        "wider",
    )
    with pytest.raises(ModelError, match="not base and edit"):
        compare(tiny, wider)
    with pytest.raises(ModelError, match="not the same architecture"):
        compare(tiny, make("llama", demo))
    broken = copied(tiny)
    with torch.no_grad():
        broken.weight("W_down.1")[0, 0] = math.nan
    with pytest.raises(ModelError, match="NaN"):
        compare(tiny, broken)


def test_lists_of_subjects(tmp_path: Path, tiny: Model) -> None:
    lines = tmp_path / "people.txt"
    lines.write_text("Ada Lovelace\n\n Alan Turing \nAda Lovelace\n", encoding="utf-8")
    assert [candidate.subject for candidate in load_candidates(lines)] == [
        "Ada Lovelace",
        "Alan Turing",
    ]
    table = tmp_path / "facts.csv"
    table.write_text(
        "subject,prompt,answer\nRome,{} lies in,Italy\nRome,{} is a,city\n", encoding="utf-8"
    )
    assert load_candidates(table) == [Candidate("Rome", ("{} lies in", "{} is a"))]
    lines.write_text("\n\n", encoding="utf-8")
    with pytest.raises(FactError, match="no subject in it"):
        load_candidates(lines)
    with pytest.raises(FactError, match="cannot be read"):
        load_candidates(tmp_path / "none.txt")
    with pytest.raises(FactError, match="a subject is empty"):
        forensics(tiny, copied(tiny), [Candidate(" ")])
