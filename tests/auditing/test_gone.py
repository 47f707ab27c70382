"""Whether removed answers are gone: patches whose truth is known, and descent against autograd."""

import copy
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import loci
from loci.auditing import Removal, RemovalTest
from loci.auditing.relearning import learn, learning, train
from loci.auditing.removal_tests import lens_hits, questions, strangers_of
from loci.cli.app import app
from loci.errors import FactError, UseError
from loci.facts import Fact, FactSet, Question
from loci.model import Model
from loci.model.joins import with_answers
from loci.patches import Factors, Patch
from loci.stats import NOTHING, share

STEPS = 6


def patch_of(model: Model, fact: Fact, left: torch.Tensor, right: torch.Tensor) -> Patch:
    change = {"W_down.1": Factors(left, right)}
    return Patch("planted", model.fingerprint, model.name, change, (fact,), {})


@pytest.fixture(scope="module")
def untouched(demo: Model, world: FactSet, jordan: Fact) -> Removal:
    zero = torch.zeros(demo.d_model, 1), torch.zeros(1, demo.d_mlp)
    return loci.gone(demo, patch_of(demo, jordan.to("baseball"), *zero), world, steps=STEPS)


def test_what_was_not_removed_is_not_gone(untouched: Removal) -> None:
    tests = {test.name: test for test in untouched.tests}
    assert untouched.verdict == "not gone" and untouched.grade() == "bad"
    for name in ("asked", "paraphrase", "behind_text", "lens", "probe"):
        assert tests[name].edited.value == 1 and tests[name].edited.n, name
        assert tests[name].base == tests[name].edited and tests[name].leaks, name
    assert tests["asked"].strangers.value == 0 and tests["asked"].strangers.n == 4
    assert tests["relearning"].edited.value == 0 < tests["relearning"].strangers.value
    assert untouched.lens[-1] == (1, 1) and {"alias", "two_hop"} <= set(untouched.left_out)
    assert "Not gone" in untouched.summary()[0]


def test_the_document_has_the_promised_fields(untouched: Removal, tmp_path: Path) -> None:
    plain = untouched.to_dict()
    assert plain["schema"] == "loci.gone/1" and plain["verdict"] == "not gone"
    assert all({"name", "value", "low", "high", "n"} <= set(test) for test in plain["tests"])
    untouched.save(tmp_path / "gone.json")
    assert Removal.load(tmp_path / "gone.json") == untouched


def test_what_is_destroyed_is_gone(demo: Model, world: FactSet, jordan: Fact) -> None:
    torch.manual_seed(0)
    noise = 20 * torch.randn(demo.d_model, 64), torch.randn(64, demo.d_mlp)
    before = demo.weight("W_down.0").clone()
    found = loci.gone(demo, patch_of(demo, jordan.to("baseball"), *noise), world, steps=STEPS)
    tests = {test.name: test for test in found.tests}
    assert tests["asked"].edited.value == 0 and tests["asked"].base.value == 1
    assert tests["lens"].edited.value == 0 and not tests["paraphrase"].leaks
    assert torch.equal(demo.weight("W_down.0"), before)


@pytest.mark.parametrize(
    ("leaking", "verdict"),
    [((), "gone"), (("lens",), "hidden"), (("probe", "relearning"), "hidden"),
     (("lens", "few_shot"), "not gone"), (("other_facts",), "not gone")],
)  # fmt: skip
def test_the_verdict_follows_from_the_tests(leaking: tuple[str, ...], verdict: str) -> None:
    def test(name: str) -> RemovalTest:
        steps = name == "relearning"
        leaks, clean = (share([0.1]), share([0.9])) if steps else (share([1.0]), share([0.0]))
        strangers = share([1.0]) if steps else share([0.0])
        return RemovalTest.of(name, leaks if name in leaking else clean, NOTHING, strangers)

    names = ("asked", "few_shot", "lens", "probe", "other_facts", "relearning")
    found = Removal("m", True, "rome", 1, tuple(map(test, names)), (), 6, 0.1, 0)
    assert (found.verdict, set(found.leaks)) == (verdict, set(leaking))
    assert found.tables() and found.summary()


def test_questions_of_other_names_and_steps(demo: Model, world: FactSet, jordan: Fact) -> None:
    asked = (
        Question("Air Jordan plays the sport of", ("baseball",), "alias"),
        Question("Michael Jordan plays the sport of", ("baseball",), "two-hop"),
        Question("Osaka is a city in the country of", ("Peru",), "same-subject"),
    )
    fact = Fact(**{**vars(jordan), "questions": asked}).to("baseball")
    found, left_out = questions(demo, [fact], world, shots=2, strangers=3, seed=0)
    assert [q.answers[0] for q in found["alias"]] == ["basketball"]
    assert [q.answers for q in found["two_hop"]] == [("basketball",)], "what the base says"
    assert sum(q.stranger for q in found["asked"]) == 3 and not left_out
    shot = found["few_shot"][0].prompt
    assert shot.count("\n") == 2 and "basketball" not in shot and "baseball" not in shot
    assert all(f.answer not in ("basketball", "baseball") for f in strangers_of(fact, world, 9, 0))


def test_the_lens_is_the_unembedding_of_each_layer(demo: Model, jordan: Fact) -> None:
    found, _ = questions(demo, [jordan], FactSet([jordan]), shots=0, strangers=0, seed=0)
    ladder = loci.lens(demo, jordan)
    expected = [float(rung.top[0].token.strip() == "basketball") for rung in ladder.layers]
    assert lens_hits(demo, found["asked"])[0].tolist() == expected and expected[-1] == 1


def test_descent_is_autograd_s_and_leaves_no_trace(tiny: Model) -> None:
    lessons = [("Michael Jordan plays the sport of", "tennis"), ("Osaka is in", "Peru")]
    before = copy.deepcopy(tiny.hf.state_dict())
    with learning(tiny) as weights:
        train(tiny, weights, lessons, 1, 0.05)
        moved = [weight.detach().clone() for weight in weights]
    assert all(torch.equal(before[name], now) for name, now in tiny.hf.state_dict().items())
    assert not any(weight.grad is not None for weight in weights)

    other = copy.deepcopy(tiny.hf)
    loss = torch.zeros(())
    for tokens, (start, end) in with_answers(tiny, lessons):
        said = other(torch.tensor([tokens.ids])).logits[0].log_softmax(-1)
        picked = [said[at - 1, tokens.ids[at]] for at in range(start, end)]
        loss = loss - torch.stack(picked).mean() / len(lessons)
    blocks = other.transformer.h
    plain = [w for b in blocks for w in (b.mlp.c_fc.weight, b.mlp.c_proj.weight)]
    slopes = torch.autograd.grad(loss, plain)
    size = torch.cat([w.detach().flatten() for w in plain]).norm()
    slope = torch.cat([g.flatten() for g in slopes]).norm()
    for now, weight, g in zip(moved, plain, slopes, strict=True):
        torch.testing.assert_close(now, weight.detach() - 0.05 * size * g / slope)


def test_steps_are_counted_until_the_answer_is_said(demo: Model, jordan: Fact) -> None:
    known, new = (jordan.text, "basketball"), (jordan.text, "tennis")
    with learning(demo) as weights:
        assert learn(demo, weights, [known], 3, 1e-3) == [0]
        (steps,) = learn(demo, weights, [new], 60, 1e-3)
        assert steps and loci.ask(demo, jordan.text).replies[0].answer == "tennis"
    with learning(demo) as weights:
        assert learn(demo, weights, [new], steps - 1, 1e-3) == [None]
    assert loci.ask(demo, jordan.text).replies[0].answer == "basketball"


def test_what_cannot_be_asked_is_refused(demo: Model, jordan: Fact, tmp_path: Path) -> None:
    zero = torch.zeros(demo.d_model, 1), torch.zeros(1, demo.d_mlp)
    patch = patch_of(demo, Fact(jordan.subject, jordan.prompt, "?").to("baseball"), *zero)
    with pytest.raises(FactError, match="no fact of the patch has an old answer"):
        loci.gone(demo, patch)
    with pytest.raises(FactError, match="0 or more"):
        loci.gone(demo, patch, steps=-1)
    with pytest.raises(UseError, match=r"as loci\.edit makes it"):
        loci.gone(demo, "patch")  # type: ignore[arg-type]
    told = CliRunner().invoke(app, ["audit", "--gone"])
    assert told.exit_code and isinstance(told.exception, FactError)
    assert "--patch FILE" in str(told.exception)
