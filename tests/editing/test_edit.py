from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from loci.editing import (
    JointSettings,
    TargetSettings,
    default_layer,
    find_targets,
    key_moments,
    output_changes,
    removed,
    training_prompts,
)
from loci.editing.data import unsaid
from loci.editing.edit import edit
from loci.editing.prompts import subject_reads
from loci.editing.statistics import Moment
from loci.errors import EditError
from loci.facts import Fact, FactSet, load_facts
from loci.model import Model, score_answers

SMALL = TargetSettings(contexts=2, essence=4, own=2, steps=12)


@pytest.fixture(scope="module")
def wishes(world: FactSet) -> list[Fact]:
    sports = world.relations["athlete_sport"]
    return [
        next(f for f in sports if f.subject == s).to("golf")
        for s in ("Michael Jordan", "Babe Ruth", "Magic Johnson")
    ]


def answers(model: Model, wishes: list[Fact]) -> list[bool]:
    return [
        score.greedy
        for score in score_answers(model, [(f.text, f.new_answer or "") for f in wishes])
    ]


@torch.no_grad()
def test_the_averaged_key_gains_exactly_delta(
    demo: Model, jordan: Fact, moments: dict[int, Moment]
) -> None:
    layer, wish = default_layer(demo), jordan.to("baseball")
    prompts = training_prompts(demo, [wish], SMALL)
    (target,) = find_targets(demo, [wish], layer, SMALL, prompts)
    patch = edit(demo, [wish], moments=moments, settings=SMALL)
    change = patch.factors[f"W_down.{layer}"].delta.float() @ target.key
    torch.testing.assert_close(change, target.delta, atol=1e-4, rtol=1e-3)
    keys, _ = subject_reads(
        demo, [[prompt for prompt in prompts[0] if prompt.answer]], layer, layer
    )
    torch.testing.assert_close(keys[:, 0], target.key, atol=1e-4, rtol=1e-4)


def test_one_edit_is_rome_and_leaves_the_model_alone(
    demo: Model, jordan: Fact, moments: dict[int, Moment]
) -> None:
    before = demo.fingerprint
    patch = edit(demo, [jordan.to("baseball")], moments=moments)
    assert demo.fingerprint == before == patch.base
    assert (patch.method, [f.rank for f in patch.factors.values()]) == ("rome", [1])
    with patch.applied(demo):
        assert answers(demo, [jordan.to("baseball")]) == [True]
    assert answers(demo, [jordan.to("basketball")]) == [True]


def test_the_same_edit_twice_is_the_same_patch(
    demo: Model, jordan: Fact, moments: dict[int, Moment]
) -> None:
    one, two = (edit(demo, [jordan.to("golf")], moments=moments, settings=SMALL) for _ in range(2))
    (name,) = one.factors
    assert torch.equal(one.factors[name].left, two.factors[name].left)


@pytest.mark.parametrize(
    ("method", "layers"), [("emmet", [0]), ("memit", [0, 1]), ("alphaedit", [0])]
)
def test_several_edits_at_once(
    demo: Model, wishes: list[Fact], moments: dict[int, Moment], method: str, layers: list[int]
) -> None:
    lam = None if method == "emmet" else 0.01
    patch = edit(
        demo, wishes, method=method, layers=layers, moments=moments, settings=SMALL, lam=lam
    )
    assert (patch.method, patch.layers, {f.rank for f in patch.factors.values()}) == (
        method,
        layers,
        {3},
    )
    asked = [(f.text, f.new_answer or "") for f in wishes]
    before = score_answers(demo, asked)
    with patch.applied(demo):
        after = score_answers(demo, asked)
    assert sum(a.logprob - b.logprob for a, b in zip(after, before, strict=True)) > 3
    assert all(score.greedy for score in after)
    assert not any(score.greedy for score in before)


def test_joint_search_and_an_answer_of_several_tokens(
    demo: Model, world: FactSet, moments: dict[int, Moment]
) -> None:
    facts = [
        f
        for f in world.relations["athlete_team"]
        if f.subject in ("Michael Jordan", "Babe Ruth", "Magic Johnson")
    ]
    wishes = [fact.to("Manchester United") for fact in facts]
    patch = edit(
        demo,
        wishes,
        moments=moments,
        settings=JointSettings(steps=12, essence=4, lr=0.1, near=16, texts=24),
    )
    assert (patch.method, patch.layers, {f.rank for f in patch.factors.values()}) == (
        "joint",
        list(range(6)),
        {3},
    )
    with patch.applied(demo):
        assert answers(demo, wishes) == [True] * 3


@torch.no_grad()
def test_many_targets_are_those_of_one_at_a_time(demo: Model, wishes: list[Fact]) -> None:
    """The batch, its padding and who leaves it early change nothing for a fact."""
    prompts = training_prompts(demo, wishes, SMALL)
    together = find_targets(demo, wishes, 0, SMALL, prompts)
    for i, wish in enumerate(wishes):
        (alone,) = find_targets(demo, [wish], 0, SMALL, prompts[i : i + 1])
        torch.testing.assert_close(together[i].delta, alone.delta, atol=2e-3, rtol=1e-2)
        torch.testing.assert_close(together[i].key, alone.key, atol=1e-4, rtol=1e-4)
        assert together[i].steps == alone.steps


def test_target_respects_its_norm_limit(demo: Model, jordan: Fact) -> None:
    settings = TargetSettings(clamp=0.5, steps=8, contexts=2, essence=2)
    wish = jordan.to("chess")
    prompts = training_prompts(demo, [wish], settings)
    (target,) = find_targets(demo, [wish], 1, settings, prompts)
    streams = [
        demo.read(demo.ids([prompt.ids]), "resid_post.1")["resid_post.1"][0, prompt.subject].norm()
        for prompt in prompts[0]
        if prompt.answer
    ]
    assert target.delta.norm() <= 0.5 * torch.stack(streams).mean() * (1 + 1e-4)


def test_more_steps_come_closer(demo: Model, jordan: Fact) -> None:
    short, long = (
        find_targets(demo, [jordan.to("chess")], 0, TargetSettings(steps=n, contexts=2, essence=2))[
            0
        ]
        for n in (2, 20)
    )
    assert long.probability > short.probability


def test_after_an_earlier_patch(
    demo: Model, wishes: list[Fact], moments: dict[int, Moment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, the second leaves the first's keys alone, and the patch holds both;
    neither is too large, both may be.
    """
    first = edit(demo, wishes[:2], method="emmet", moments=moments, settings=SMALL)
    second = edit(demo, wishes[2:], method="emmet", moments=moments, settings=SMALL)
    both = edit(demo, wishes[2:], method="emmet", moments=moments, settings=SMALL, after=first)
    assert both.facts == tuple(wishes)
    prompts = [
        [prompt for prompt in own if prompt.answer]
        for own in training_prompts(demo, wishes[:2], SMALL)
    ]
    keys, _ = subject_reads(demo, prompts, 0, 0)
    grown = both.factors["W_down.0"].delta - first.factors["W_down.0"].delta
    assert (grown @ keys.double()).norm() < 1e-4 * (
        first.factors["W_down.0"].delta @ keys.double()
    ).norm()
    with both.applied(demo):
        assert answers(demo, wishes) == [True] * 3
    changes = output_changes(demo, both.factors, moments)
    assert both.numbers["output_change"] == pytest.approx(changes), (
        "of both together, against the base"
    )
    limit = (
        changes["W_down.0"]
        + max(patch.numbers["output_change"]["W_down.0"] for patch in (first, second))
    ) / 2
    monkeypatch.setattr(import_module("loci.editing.data"), "LARGEST_CHANGE", limit)
    with pytest.raises(EditError, match="fewer edits"):
        edit(demo, wishes[2:], method="emmet", moments=moments, settings=SMALL, after=first)


def test_moments_are_second_moments_and_kept_by_content(
    demo: Model, moments: dict[int, Moment], tmp_path, monkeypatch
) -> None:
    C = moments[0]
    assert C.shape == (demo.d_mlp, demo.d_mlp)
    torch.testing.assert_close(C, C.T)
    assert torch.linalg.eigvalsh(C)[0] > -1e-6 * C.diagonal().mean()
    monkeypatch.setenv("LOCI_CACHE", str(tmp_path))
    texts = ["The king slept.", "A song was sung."]
    fresh = key_moments(demo, [0, 2], texts=texts)
    acts = torch.cat(
        [
            demo.read(demo.ids([demo.tokenize(t).ids]), "mlp_act.2")["mlp_act.2"][0, 1:]
            for t in texts
        ]
    ).double()
    torch.testing.assert_close(fresh[2], acts.T @ acts / len(acts), atol=1e-5, rtol=1e-4)
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) == 2
    width = demo.d_mlp
    assert all(file.stat().st_size < 2 * width * (width + 1) + 500 for file in files)
    assert torch.equal(key_moments(demo, [2], texts=texts)[2], fresh[2])
    files[0].write_bytes(b"broken")
    files[1].write_bytes(b"broken")
    torch.testing.assert_close(key_moments(demo, [2], texts=texts)[2], fresh[2])
    key_moments(demo, [0], texts=texts[:1])
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3, "another text is another file"


def test_removing_wishes_for_nothing_or_for_the_prior(world: FactSet, jordan: Fact) -> None:
    assert removed(jordan, world).new_answer == "unknown"
    prior = removed(jordan, world, "prior").new_answer
    assert prior == next(a for a in world.answers("athlete_sport") if a != "basketball")
    with pytest.raises(EditError, match="could be its prior"):
        removed(Fact("Nobody", "{} sings", "songs"), world, "prior")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: [], "no facts"),
        (lambda f: [f], "no new answer"),
        (lambda f: [f.to("basketball")], "already answers 'basketball'"),
        (lambda f: [f.to("golf"), f.to("chess")], "contradict"),
        (
            lambda f: [f.to("golf"), replace(f, prompt="The sport of {} is").to("chess")],
            "contradict",
        ),
        (lambda f: [f.to("golf"), f.to("golf")], "same prompt"),
        (
            lambda f: [Fact("Michael Jorda", "{}n plays the sport of", "x", new_answer="y")],
            "put a space",
        ),
    ],
)
def test_refuses_edits_that_mean_nothing(demo: Model, jordan: Fact, change, says: str) -> None:
    with pytest.raises(EditError, match=says):
        edit(demo, change(jordan))


def test_refuses_what_is_not_there(demo: Model, jordan: Fact) -> None:
    with pytest.raises(EditError, match="no layer 6"):
        edit(demo, [jordan.to("golf")], layers=[6])
    with pytest.raises(EditError, match="no method 'magic'"):
        edit(demo, [jordan.to("golf")], method="magic")
    with pytest.raises(EditError, match="one fact at a time"):
        edit(demo, [jordan.to("golf"), jordan.to("chess")], method="rome")


def test_texts_that_state_an_edited_fact_are_not_held(wishes: list[Fact]) -> None:
    fact = wishes[0]
    states, others = (
        f"They say {fact.subject} has {fact.answer}.",
        [f"{fact.subject} is here.", f"This is {fact.answer}."],
    )
    assert unsaid([states, *others], wishes) == others


def test_edited_again_after_an_earlier_patch(
    demo: Model, world: FactSet, moments: dict[int, Moment], jordan: Fact
) -> None:
    """Both hold, and what is edited again stands once."""
    quick = JointSettings(steps=12, essence=4, lr=0.1, near=16, retained=48, texts=24)
    ruth = next(f for f in world.about("Babe Ruth") if f.relation == "athlete_sport")
    first = edit(
        demo,
        [jordan.to("golf"), ruth.to("tennis")],
        method="joint",
        moments=moments,
        settings=quick,
    )
    both = edit(demo, [jordan.to("chess")], moments=moments, settings=quick, after=first)
    assert [(f.subject, f.new_answer) for f in both.facts] == [
        ("Babe Ruth", "tennis"),
        ("Michael Jordan", "chess"),
    ]
    with both.applied(demo):
        assert answers(demo, list(both.facts)) == [True, True]


def test_the_old_answer_may_be_left_to_the_model(
    demo: Model, moments: dict[int, Moment], tmp_path: Path
) -> None:
    file = tmp_path / "corrections.csv"
    file.write_text("subject,prompt,new_answer\nMichael Jordan,{} plays the sport of,golf\n")
    (wish,) = load_facts(file)
    patch = edit(demo, [wish], moments=moments, settings=SMALL)
    assert [(fact.answer, fact.new_answer) for fact in patch.facts] == [("basketball", "golf")]
