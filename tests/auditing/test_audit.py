import pytest
import torch

from loci.auditing import CHEAP, Scorecard, audit, audit_singles, counterfactuals, recall
from loci.auditing.method_audits import layers_of
from loci.auditing.questions import ask
from loci.editing import TargetSettings, default_layer, key_moments
from loci.editing.edit import edit
from loci.errors import FactError, PatchError
from loci.facts import Fact, FactSet, controls
from loci.model import Model, complete, modules
from loci.patches import Factors, Patch
from loci.survey.drift import Drift

QUICK = TargetSettings(steps=2, contexts=1, essence=1, own=0)


def nothing(model: Model, fact: Fact) -> Patch:
    zero = Factors(torch.zeros(model.d_model, 1), torch.zeros(1, model.d_mlp))
    return Patch("nothing", model.fingerprint, model.name, {"W_down.1": zero}, (fact,), {})


def test_a_patch_that_does_nothing(demo: Model, world: FactSet, jordan: Fact) -> None:
    card = audit(demo, nothing(demo, jordan.to("baseball")), world)
    values = {name: estimate.value for name, estimate in card.metrics.items()}
    assert (values["efficacy"], values["paraphrase"]) == (0, 0)
    assert (values["specificity"], values["same_subject"]) == (1, 1)
    assert (values["drift_kl"], values["perplexity_ratio"]) == (0, 1)
    assert values["fluency"] == values["fluency_base"] > 0
    assert card.cases[0].changed == ()
    assert card.cases[0].said == "basketball"


def test_a_patch_that_breaks_everything(demo: Model, world: FactSet, jordan: Fact) -> None:
    torch.manual_seed(0)
    noise = Factors(torch.randn(demo.d_model, 8), torch.randn(8, demo.d_mlp))
    patch = Patch(
        "noise", demo.fingerprint, demo.name, {"W_down.1": noise}, (jordan.to("baseball"),), {}
    )
    grown: list[Scorecard] = []
    card = audit(demo, patch, world, growing=grown.append)
    own, beside = grown[: -len(CHEAP)], grown[-len(CHEAP) :]
    known = [{name for name, one in part.metrics.items() if one.n} for part in own]
    news = [sorted(new - old) for old, new in zip([set[str](), *known], known, strict=False)]
    assert [news[1], *news[3:]] == [
        ["specificity"],
        ["same_subject"],
        ["drift_kl", "perplexity_ratio"],
    ], "paraphrases first, then what should stay, one after the other"
    assert "paraphrase" in news[0] and news[2] == ["specificity_same_answer"]
    for part in own:
        assert all(one == card.metrics[name] for name, one in part.metrics.items() if one.n)
    assert [len(part.controls) + len(part.left_out) for part in beside] == list(range(len(CHEAP)))
    assert all(part.metrics == card.metrics for part in beside), "the edit's own come first"
    assert audit(demo, patch, world, controls=(), samples=2).cases[0]._replace(probability=0) == (
        card.cases[0]._replace(probability=0)
    ), "asked all at once it is the same"
    assert card.metrics["specificity"].value < 0.5
    assert card.metrics["drift_kl"].value > 0.5
    assert card.metrics["perplexity_ratio"].low > 1.5
    case = card.cases[0]
    assert (
        0
        < len(case.changed)
        <= sum(
            not hit
            for hit in (
                *case.specificity,
                *case.hits["specificity_same_answer"],
                *case.same_subject,
            )
        )
    )


def test_metrics_are_what_generation_says(demo: Model, world: FactSet, jordan: Fact) -> None:
    """The whole audit of one edit again, by free generation."""
    wish = jordan.to("baseball")
    patch = edit(demo, [wish])
    card = audit(demo, patch, world, neighbours=6)
    [question] = ask(demo, [wish], world, 6, 0)
    neighbours = [prompt for prompt in question.keeps if prompt.metrics == ("specificity",)]
    with patch.applied(demo):
        said = [
            text.split(".")[0].strip() for text in complete(demo, [wish.text, *wish.asked()], 12)
        ]
        near = [
            text.split(".")[0].strip()
            for text in complete(demo, [prompt.text for prompt in neighbours], 12)
        ]
    case = card.cases[0]
    assert (*case.efficacy, *case.paraphrase) == tuple(text == "baseball" for text in said)
    assert case.specificity == tuple(
        (text,) == prompt.answers for text, prompt in zip(near, neighbours, strict=True)
    )
    assert len(neighbours) == 6
    assert all(f.text != prompt.text for prompt in neighbours for f in world.about(jordan.subject))
    twins = {
        prompt.text for prompt in question.keeps if prompt.metrics == ("specificity_same_answer",)
    }
    assert twins <= {
        f.text
        for f in world.of("athlete_sport")
        if f.answer == "basketball" and f.subject != jordan.subject
    }


def test_a_fact_from_a_patch_learns_its_paraphrases_from_the_world(
    demo: Model, world: FactSet
) -> None:
    bare = Fact("Michael Jordan", "{} plays the sport of", "basketball").to("baseball")
    card = audit(demo, nothing(demo, bare), world)
    assert len(card.cases[0].paraphrase) == 4
    assert len(card.cases[0].specificity) == 10


def test_what_is_edited_is_not_asked_to_stay(demo: Model) -> None:
    """A subject with two edits, and its twin: every prompt that should stay is one that nothing
    edits.
    """
    fields = Fact("Rachel Carson", "{} worked in the field of", "biology", relation="field")
    country = Fact("Rachel Carson", "{} was a scientist from", "United States", relation="country")
    other = Fact("Charles Darwin", "{} worked in the field of", "biology", relation="field")
    world = FactSet([fields, country, other])
    alone, *_ = ask(demo, [fields.to("chess")], world, 5, 0)
    assert {prompt.text for prompt in alone.keeps} == {country.text, other.text}
    edits = [fields.to("chess"), country.to("Spain")]
    assert {prompt.text for own in ask(demo, edits, world, 5, 0) for prompt in own.keeps} == {
        other.text
    }
    assert list(world.without(edits)) == [other]


def test_own_neighbours_come_first(demo: Model, world: FactSet) -> None:
    fact = Fact(
        "Michael Jordan",
        "{} plays the sport of",
        "basketball",
        relation="x",
        neighbours=("Larry Bird plays the sport of",),
    )
    card = audit(demo, nothing(demo, fact.to("golf")), world)
    assert card.cases[0].specificity == (True,)


def test_single_edits_pool_by_edit(
    demo: Model, world: FactSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = counterfactuals(world, 4, seed=2)
    assert len({wish.relation for wish in wishes}) == 4
    assert all(
        wish.new_answer in world.answers(wish.relation) and wish.new_answer != wish.answer
        for wish in wishes
    )
    layer = default_layer(demo)
    moments = key_moments(demo, [layer])
    before = demo.fingerprint
    passes: list[str] = []
    hashed = modules.fingerprint
    monkeypatch.setattr(modules, "fingerprint", lambda *given: passes.append("") or hashed(*given))
    card = audit_singles(
        demo,
        wishes[:2],
        lambda wish: edit(demo, [wish], moments=moments, settings=QUICK),
        world,
        neighbours=4,
    )
    assert len(passes) <= 2, "however many edits: the model is hashed once"
    assert demo.fingerprint == before
    assert (card.edits, card.layers, card.metrics["efficacy"].n) == (2, (layer,), 2)
    assert card.metrics["drift_kl"].n == card.metrics["fluency"].n == 2
    by_hand = sum(sum(case.specificity) / len(case.specificity) for case in card.cases) / 2
    assert card.metrics["specificity"].value == pytest.approx(by_hand)
    document = card.to_dict()
    assert {"efficacy", "paraphrase", "specificity", "same_subject", "drift_kl"} <= set(
        document["metrics"]
    )
    assert set(document["metrics"]["efficacy"]) == {"value", "low", "high", "n"}


def test_wrong_base_and_no_new_answer(
    demo: Model, tiny: Model, world: FactSet, jordan: Fact
) -> None:
    with pytest.raises(PatchError, match="not the same base"):
        audit(tiny, nothing(demo, jordan.to("golf")), world)
    with pytest.raises(FactError, match="no new answer"):
        audit(demo, nothing(demo, jordan), world)


def test_layers_of_an_unknown_model_are_calibrated(
    demo: Model, tiny: Model, world: FactSet
) -> None:
    wishes = counterfactuals(world, 3, seed=2)
    assert layers_of(demo, "memit", None, wishes) == [default_layer(demo)]
    assert layers_of(tiny, "memit", [2, 1], wishes) == [2, 1]
    assert list(layers_of(tiny, "joint", None, wishes)) == [0, 1, 2]
    assert layers_of(tiny, "rome", None, wishes) == edit(tiny, wishes, method="emmet").layers


@torch.no_grad()
def test_drift_is_the_divergence_by_hand(demo: Model) -> None:
    sentences = controls()[:5]
    drift = Drift(demo, sentences)
    assert drift.now().kl == drift.now().log_ratio == (0.0,) * 5
    ids = [demo.ids([demo.tokenize(s).ids]) for s in sentences]
    before = [demo(i)[0].log_softmax(-1) for i in ids]
    with demo.patched({"mlp_out.1": lambda out: 0.5 * out}):
        after = [demo(i)[0].log_softmax(-1) for i in ids]
        found = drift.now()
    by_hand = [
        float((b.exp() * (b - a)).sum(-1).mean()) for a, b in zip(after, before, strict=True)
    ]
    assert sorted(found.kl) == pytest.approx(sorted(by_hand), rel=1e-3)
    losses = [
        [
            float(torch.nn.functional.nll_loss(x[:-1], i[0, 1:]))
            for x, i in zip(side, ids, strict=True)
        ]
        for side in (before, after)
    ]
    ratios = [late - early for early, late in zip(*losses, strict=True)]
    assert sorted(found.log_ratio) == pytest.approx(sorted(ratios), rel=1e-3)


def test_recall_reaches_what_the_card_says(demo: Model, world: FactSet) -> None:
    """A seeded tenth of the world; the whole is on the card, by `loci recall`."""
    found = recall(demo, world.sample(600, seed=11))
    assert found.trained.value >= 0.99
    assert found.held_out.value >= 0.95
    assert found.held_out.n > 90


def test_recall_of_a_model_that_knows_nothing(tiny: Model, world: FactSet) -> None:
    found = recall(tiny, world[:30])
    assert found.trained.value == 0
    assert len(found.missed) == sum(1 + len(f.asked()) for f in world[:30])
    with pytest.raises(FactError, match="no facts"):
        recall(tiny, [])
