"""Controls against what they are by hand, and the tables they end in."""

import csv
import json
from functools import partial
from math import log2
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import loci
from loci.auditing import (
    CONTROLS,
    CaseTable,
    ControlSettings,
    audit,
    audit_at_once,
    audit_in_turn,
    controls,
    counterfactuals,
    evaluation,
    linear_relations,
)
from loci.auditing.controls import in_context, moved, random_layer, retrieval
from loci.auditing.generation_entropy import fluency, generations, openings
from loci.auditing.neuron_edits import edit_neurons
from loci.auditing.questions import ask
from loci.auditing.sequential_edits import LIMITS
from loci.cli.show import show
from loci.editing import JointSettings, TargetSettings, key_moments, output_changes
from loci.errors import EditError, OutputError
from loci.facts import Fact, FactSet, Question
from loci.figures.tables import write_table
from loci.locating import neuron_attribution
from loci.model import Model, complete, first_sentence
from loci.model.answers import with_answer
from loci.patches import Factors, Patch

SETTINGS = ControlSettings(
    target=TargetSettings(steps=2, contexts=1, essence=1, own=0),
    joint=JointSettings(steps=2, contexts=1, essence=1, own=0, texts=8, near=8, retained=16),
)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generations of 12 tokens, and Jacobians of a fact and one other: enough for a table."""
    monkeypatch.setattr(evaluation, "generations", partial(generations, tokens=12))
    few = partial(linear_relations.steer_linearly, examples=2)
    monkeypatch.setattr(controls, "steer_linearly", few)


def change(
    model: Model,
    facts: list[Fact],
    layers: tuple[int, ...] = (1,),
    size: float = 0.0,
    method: str = "by hand",
) -> Patch:
    torch.manual_seed(0)
    factors = {
        f"W_down.{i}": Factors(size * torch.randn(model.d_model, 2), torch.randn(2, model.d_mlp))
        for i in layers
    }
    return Patch(method, model.fingerprint, model.name, factors, tuple(facts), {})


# fluency
# --------------------------------------------------------------------------------------------------


def test_fluency_by_hand() -> None:
    assert fluency("a b c d") == pytest.approx((2 / 3 * log2(3) + 4 / 3 * log2(2)) / 2)
    assert fluency("no no no no no no") == 0
    assert fluency("") == fluency("one") == 0
    assert fluency("a b a b") == pytest.approx((2 / 3 * (log2(3) - 2 / 3) + 4 / 3) / 2)


@given(st.lists(st.sampled_from("abc."), min_size=3, max_size=40))
def test_fluency_is_at_most_all_different(words: list[str]) -> None:
    bound = (2 / 3 * log2(len(words) - 1) + 4 / 3 * log2(len(words) - 2)) / 2
    assert -1e-9 <= fluency(" ".join(words)) <= bound + 1e-9


def test_generations_are_seeded_and_leave_the_seed_alone(tiny: Model) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = generations(tiny, ["Rome lies in", "Rome is"], 6, seed=1)
    assert torch.rand(1) == expected
    assert first == generations(tiny, ["Rome lies in", "Rome is"], 6, seed=1)
    assert first != generations(tiny, ["Rome lies in", "Rome is"], 6, seed=2)
    asked = Fact(
        "Rome", "{} lies in", "Italy", questions=(Question("Rome is known for", (), "generation"),)
    )
    assert openings(asked) == ["Rome is known for"]
    long = "Rome lies in " * 12
    assert len(tiny.tokenize(long).ids) < tiny.n_ctx
    assert generations(tiny, [long], 60), "shorter where the context is full"


# questions and aliases
# -----------------------------------------------------------------------------------------------


def test_aliases_and_questions_count(demo: Model, world: FactSet, jordan: Fact) -> None:
    """What the base says is known, so each hit of a patch that does nothing is."""
    questions = (
        Question("Larry Bird plays the sport of", ("hoops", "basketball"), "two-hop"),
        Question("Larry Bird plays the sport of", ("golf",), "reverse"),
        Question("Larry Bird plays the sport of", ("golf",), "unrelated"),
        Question("Larry Bird plays the sport of", ("nothing",), "same-subject"),
    )
    wish = Fact(
        "Michael Jordan",
        jordan.prompt,
        "golf",
        "hoops",
        new_aliases=("basketball",),
        questions=questions,
    )
    card = audit(demo, change(demo, [wish]), FactSet([wish]))
    hits = card.cases[0].hits
    assert hits["efficacy"] == hits["two_hop"] == (True,), "by an alias"
    assert hits["reverse"] == (False,)
    assert hits["unrelated"] == hits["same_subject"] == (True,), "as the base, whatever is right"
    assert (card.metrics["two_hop"].value, card.metrics["reverse"].value) == (1, 0)
    assert "logical" not in card.metrics
    [asked] = ask(demo, [wish], FactSet([wish]), 0, 0)
    assert [prompt.answers for prompt in asked.keeps] == [("basketball",), ("basketball",)]


# controls
# --------------------------------------------------------------------------------------------------


def test_in_context_is_asking_with_the_statement(demo: Model, world: FactSet, jordan: Fact) -> None:
    wish = jordan.to("baseball")
    card = audit(
        demo, change(demo, [wish]), world, controls=("in-context", "no edit"), neighbours=4
    )
    stated = f"Imagine that {wish.text} baseball. "
    said = [
        first_sentence(text)
        for text in complete(demo, [stated + text for text in (wish.text, *wish.asked())], 12)
    ]
    told = card.controls["in-context"]
    assert told["efficacy"].value == float(said[0] == "baseball")
    assert told["paraphrase"].value == pytest.approx(
        sum(text == "baseball" for text in said[1:]) / len(said[1:])
    )
    others = [fact.text for fact in world.others(wish)]
    before = [first_sentence(text) for text in complete(demo, others, 12)]
    after = [
        first_sentence(text) for text in complete(demo, [stated + text for text in others], 12)
    ]
    same = [a == b for a, b in zip(before, after, strict=True) if b]
    assert told["same_subject"].value == pytest.approx(sum(same) / len(same))
    assert told["specificity"].value == 1, "nobody edited stands in a neighbour's prompt"
    assert (told["drift_kl"].value, told["perplexity_ratio"].value) == (0, 1)
    none = card.controls["no edit"]
    assert (none["efficacy"].value, none["specificity"].value, none["perplexity_ratio"].value) == (
        0,
        1,
        1,
    )
    assert none["fluency"] == none["fluency_base"] == card.metrics["fluency"], (
        "the patch does nothing"
    )


def test_the_fact_that_is_told(jordan: Fact) -> None:
    team = Fact("Michael Jordan", "{} plays for the team", "Bulls").to("Hawks")
    lead = in_context([jordan.to("golf"), team])
    assert (
        lead("Michael Jordan plays for the team")
        == "Imagine that Michael Jordan plays for the team Hawks. Michael Jordan plays for the team"
    )
    assert lead("Michael Jordan does the sport of").startswith(f"Imagine that {jordan.text} golf. ")
    assert lead("Michael Jordans plays") == "Michael Jordans plays"


def test_retrieval_tells_the_most_similar_fact(jordan: Fact) -> None:
    other = Fact("Tiger Woods", "{} does the sport of", "golf").to("tennis")
    lead = retrieval([jordan.to("golf"), other])
    assert lead("The sport of Tiger Woods is").startswith(f"Imagine that {other.text} tennis. ")
    assert lead("Air Jordan is").startswith(f"Imagine that {jordan.text} golf. "), (
        "it knows of no subjects"
    )
    assert lead("Paris") == "Paris"


def test_counterfactuals_are_another_answer() -> None:
    """An answer that begins with the old one, or with which the old one begins, would be counted as
    given.
    """
    parties = [
        Fact(f"S{i}", "{} was a", party, relation="party")
        for i, party in enumerate(["Democratic", "Democratic-Republican"])
    ]
    assert counterfactuals(FactSet(parties), 9) == []
    wishes = counterfactuals(
        FactSet([*parties, Fact("S9", "{} was a", "Whig", relation="party")]), 9
    )
    assert (
        sorted(wish.new_answer or "" for wish in wishes)[-2:] == ["Whig", "Whig"]
        and len(wishes) == 3
    )


@given(st.integers(0, 50))
def test_moved_changes_every_layer_once(demo: Model, seed: int) -> None:
    layers = tuple(range(demo.n_layers))
    patch = change(demo, [], layers)
    other = moved(demo, patch, seed)
    assert sorted(other.layers) == list(layers)
    where = {
        name: next(n for n, f in other.factors.items() if f is factors)
        for name, factors in patch.factors.items()
    }
    assert all(before != after for before, after in where.items())


def test_a_random_layer_is_another(demo: Model, jordan: Fact) -> None:
    wish = jordan.to("baseball")
    found = random_layer(demo, change(demo, [wish], (0,), method="rome"), SETTINGS)
    assert found.method == "rome" and len(found.layers) == 1 and found.layers != [0]
    assert found.facts == (wish,)
    everywhere = random_layer(
        demo, change(demo, [wish], tuple(range(demo.n_layers)), method="joint"), SETTINGS
    )
    assert "moved_by_layers" in everywhere.numbers


@pytest.mark.usefixtures("short")
def test_all_controls_in_one_table(
    demo: Model, world: FactSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = demo.fingerprint
    card = audit_at_once(
        demo,
        world,
        2,
        method="emmet",
        layers=[0],
        controls=tuple(CONTROLS),
        settings=SETTINGS,
        neighbours=2,
    )
    assert demo.fingerprint == before and not card.left_out
    assert (card.method, card.edits, card.layers) == ("emmet", 2, (0,))
    document = json.loads(json.dumps(card.to_dict(), allow_nan=False))
    assert list(document["controls"]) == list(CONTROLS)
    assert all(
        set(metrics) == set(document["metrics"]) for metrics in document["controls"].values()
    )
    assert document["metrics"]["drift_kl"]["n"] == 100, "of one patch, the sentences are the units"
    assert (
        card.controls["fine-tuning"]["drift_kl"].value
        > 0
        == card.controls["no edit"]["drift_kl"].value
    )
    show(card)
    printed = capsys.readouterr().out
    assert all(
        word in printed
        for word in ("perplexity", "tuning", "neurons", "linear", "context", "retrieval")
    ), "none is cut at 80 columns"
    figure = loci.plot(card)
    assert {"the edit", *CONTROLS} <= {trace.name for trace in figure.data}
    _check_cases(card, tmp_path)


def _check_cases(card: loci.auditing.Scorecard, tmp_path: Path) -> None:
    for name in ("cases.csv", "cases.parquet"):
        write_table(CaseTable(card).to_dict(), tmp_path / name)
    with (tmp_path / "cases.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "cases.parquet").to_pylist()
    assert len(written) == len(table) == card.edits
    for row, cells, case in zip(table, written, card.cases, strict=True):
        assert row["prompt"] == cells["prompt"] == case.fact.text
        assert (
            row["paraphrase_hits"]
            == cells["paraphrase_hits"]
            == " ".join(str(int(hit)) for hit in case.paraphrase)
        )
        assert row["specificity"] == pytest.approx(sum(case.specificity) / len(case.specificity))
    with pytest.raises(OutputError, match=r"\.parquet or \.csv"):
        write_table(CaseTable(card).to_dict(), tmp_path / "cases.txt")


def test_what_cannot_be_made_is_said(demo: Model, jordan: Fact, world: FactSet) -> None:
    with pytest.raises(EditError, match="no control 'magic'"):
        audit(demo, change(demo, [jordan.to("golf")]), world, controls=("magic",))
    done = change(demo, [jordan.to("basketball")])
    card = audit(demo, done, world, controls=("fine-tuning",), neighbours=1)
    assert "nothing to edit" in card.left_out["fine-tuning"]
    assert not card.controls


# one after another
# --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short")
def test_edits_in_turn(demo: Model, world: FactSet, capsys: pytest.CaptureFixture[str]) -> None:
    before = demo.fingerprint
    curves = audit_in_turn(
        demo,
        world,
        4,
        method="emmet",
        layers=[0],
        each=1,
        checkpoints=2,
        settings=SETTINGS,
        neighbours=1,
    )
    assert demo.fingerprint == before
    assert [point.edits for point in curves.points] == [2, 4]
    assert [point.rank for point in curves.points] == sorted(point.rank for point in curves.points)
    assert curves.points[-1].metrics["efficacy"].n == 4
    document = json.loads(json.dumps(curves.to_dict(), allow_nan=False))
    assert document["points"][1]["metrics"].keys() >= {"efficacy", "drift_kl", "fluency"}
    assert len(loci.plot(curves).data) == 8
    show(curves)
    assert "4 emmet edits, 1 at a time" in capsys.readouterr().out


@pytest.mark.usefixtures("short")
def test_change_and_warnings_by_hand(demo: Model, jordan: Fact) -> None:
    moments = key_moments(demo, [1])
    loud = change(demo, [jordan.to("golf")], (1,), size=0.02)
    root = torch.linalg.cholesky(moments[1].double() + 1e-9 * torch.eye(demo.d_mlp))
    W = demo.W_down(1).double()
    by_hand = (loud.factors["W_down.1"].delta @ root).norm() / (W @ root).norm()
    assert output_changes(demo, loud.factors, moments)["W_down.1"] == pytest.approx(
        float(by_hand), rel=1e-4
    )
    curves = audit_in_turn(
        demo, loci.known_facts(), 1, method="emmet", layers=[0], settings=SETTINGS, neighbours=1
    )
    [point] = curves.points
    near = point._replace(output_change=LIMITS["output_change"] + 0.1)
    assert [words.split(" 0")[0] for words in near.warnings if "change" in words] == [
        "output change"
    ]
    assert not any("rank" in words for words in near.warnings)
    assert point._replace(rank_share=0.9).warnings


def test_steps_that_make_no_sense(demo: Model, world: FactSet) -> None:
    with pytest.raises(EditError, match="at least 1"):
        audit_in_turn(demo, world, 2, each=0)
    assert len(counterfactuals(world, 3)) == 3


# knowledge neurons
# --------------------------------------------------------------------------------------------------


def test_knowledge_neurons_are_turned_from_the_old_answer_to_the_new(
    demo: Model, jordan: Fact
) -> None:
    """By hand: only columns of the strongest neurons change, each along u(new) − u(old), by twice
    its length.
    """
    patch = edit_neurons(demo, [jordan.to("baseball")])
    scores = neuron_attribution(demo, jordan, baseline="zero", steps=20).scores
    chosen = scores > 0.2 * scores.max()
    new, old = (
        demo.W_U[with_answer(demo, jordan.text, answer)[0].ids[-1]]
        for answer in ("baseball", "basketball")
    )
    for layer in range(demo.n_layers):
        name = f"W_down.{layer}"
        if not chosen[layer].any():
            assert name not in patch.factors
            continue
        delta, W = patch.factors[name].delta.float(), demo.W_down(layer)
        assert torch.equal(delta.norm(dim=0) > 0, chosen[layer])
        torch.testing.assert_close(
            delta[:, chosen[layer]].norm(dim=0), 2 * W[:, chosen[layer]].norm(dim=0)
        )
        cosines = torch.nn.functional.cosine_similarity(
            delta[:, chosen[layer]], (new - old)[:, None], dim=0
        )
        torch.testing.assert_close(cosines, torch.ones_like(cosines))
    with pytest.raises(EditError, match="no new answer"):
        edit_neurons(demo, [jordan])
