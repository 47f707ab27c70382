import pytest
import torch

from loci.editing import TargetSettings, default_layer, edit, find_target, key_covariance
from loci.errors import EditError
from loci.facts import Fact, FactSet
from loci.model import Model, score_answers
from loci.survey import prefixes


@pytest.fixture(scope="module")
def covariance(demo: Model) -> torch.Tensor:
    return key_covariance(demo, default_layer(demo))


@torch.no_grad()
def test_the_averaged_key_gains_exactly_delta(demo: Model, jordan: Fact, covariance: torch.Tensor) -> None:
    layer, wish = default_layer(demo), jordan.to("baseball")
    target = find_target(demo, wish, layer, prefixes(demo, TargetSettings().contexts), TargetSettings())
    patch = edit(demo, [wish], covariance=covariance)
    change = patch.factors[f"W_down.{layer}"].delta.float() @ target.key
    torch.testing.assert_close(change, target.delta, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_the_key_is_the_mean_over_bare_and_prefixed_prompts(demo: Model, jordan: Fact) -> None:
    contexts = prefixes(demo, 3)
    target = find_target(demo, jordan.to("baseball"), 1, contexts, TargetSettings(steps=1))
    keys = []
    for head in ("", *(f"{context} " for context in contexts)):
        tokens = demo.tokenize(head + jordan.text)
        position = tokens.span((len(head), len(head) + len(jordan.subject)))[1] - 1
        keys.append(demo.read(demo.ids([tokens.ids]), "mlp_act.1")["mlp_act.1"][0, position])
    torch.testing.assert_close(target.key, torch.stack(keys).mean(0), atol=1e-4, rtol=1e-4)


def test_one_edit_is_rome_and_leaves_the_model_alone(demo: Model, jordan: Fact, covariance: torch.Tensor) -> None:
    before = demo.fingerprint
    patch = edit(demo, [jordan.to("baseball")], covariance=covariance)
    assert demo.fingerprint == before == patch.base
    assert (patch.method, [f.rank for f in patch.factors.values()]) == ("rome", [1])
    with patch.applied(demo):
        assert score_answers(demo, [(jordan.text, "baseball")])[0].greedy
    assert score_answers(demo, [(jordan.text, "basketball")])[0].greedy


def test_the_same_edit_twice_is_the_same_patch(demo: Model, jordan: Fact, covariance: torch.Tensor) -> None:
    one, two = (edit(demo, [jordan.to("golf")], covariance=covariance) for _ in range(2))
    (name,) = one.factors
    assert torch.equal(one.factors[name].left, two.factors[name].left)


def test_several_edits_at_once_and_an_answer_of_several_tokens(demo: Model, world: FactSet, covariance: torch.Tensor) -> None:
    facts = [f for f in world.relations["athlete_team"] if f.subject in ("Michael Jordan", "Babe Ruth", "Magic Johnson")]
    wishes = [fact.to("Manchester United") for fact in facts]
    patch = edit(demo, wishes, covariance=covariance)
    assert (patch.method, patch.factors[f"W_down.{patch.layers[0]}"].rank) == ("emmet", 3)
    with patch.applied(demo):
        assert all(score.greedy for score in score_answers(demo, [(f.text, "Manchester United") for f in wishes]))


def test_target_respects_its_norm_limit(demo: Model, jordan: Fact) -> None:
    settings = TargetSettings(clamp=0.5, steps=15)
    target = find_target(demo, jordan.to("chess"), 1, prefixes(demo, 2), settings)
    outputs = []
    for head in ("", *(f"{context} " for context in prefixes(demo, 2))):
        tokens = demo.tokenize(head + jordan.text)
        position = tokens.span((len(head), len(head) + len(jordan.subject)))[1] - 1
        outputs.append(demo.read(demo.ids([tokens.ids]), "mlp_out.1")["mlp_out.1"][0, position])
    scale = torch.stack(outputs).norm(dim=-1).mean()
    assert target.delta.norm() <= 0.5 * scale * (1 + 1e-4)


def test_more_steps_come_closer(demo: Model, jordan: Fact) -> None:
    wish, contexts = jordan.to("chess"), prefixes(demo, 2)
    short, long = (find_target(demo, wish, 1, contexts, TargetSettings(steps=n)) for n in (2, 40))
    assert long.probability > short.probability


def test_covariance_is_the_second_moment_of_the_keys(demo: Model, covariance: torch.Tensor) -> None:
    assert covariance.shape == (demo.d_mlp, demo.d_mlp)
    torch.testing.assert_close(covariance, covariance.T)
    assert torch.linalg.eigvalsh(covariance)[0] > -1e-9


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: [], "no facts"),
        (lambda f: [f], "no new answer"),
        (lambda f: [f.to("basketball")], "already answers 'basketball'"),
        (lambda f: [f.to("golf"), f.to("chess")], "same prompt"),
    ],
)
def test_refuses_edits_that_mean_nothing(demo: Model, jordan: Fact, change, says: str) -> None:
    with pytest.raises(EditError, match=says):
        edit(demo, change(jordan))


def test_refuses_a_layer_that_is_not_there(demo: Model, jordan: Fact) -> None:
    with pytest.raises(EditError, match="no layer 6"):
        edit(demo, [jordan.to("golf")], layer=6)
