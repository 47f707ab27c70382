"""The joint search's parts: changes as hooks, where it starts, what is drawn."""

import pytest
import torch
from tests.model.families import make

from loci.editing import JointSettings
from loci.editing.changes import making
from loci.editing.edit import edit
from loci.editing.joint import finetune_parts, joint_parts
from loci.editing.joint_search import JointSearch
from loci.editing.joint_settings import LayerChange
from loci.editing.prompts import TrainingPrompt, training_prompts
from loci.editing.statistics import Moment
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.patches import Factors, Patch

QUICK = JointSettings(steps=3, essence=2, contexts=1, own=0, texts=8)


def noise(model: Model, *layers: int) -> dict[str, Factors]:
    torch.manual_seed(0)
    return {
        f"W_down.{at}": Factors(torch.randn(model.d_model, 2), 0.1 * torch.randn(2, model.d_mlp))
        for at in layers
    }


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "pythia", "llama", "gemma2", "opt"])
def test_hooks_are_the_changed_weights(demo: Model, name: str, ids: torch.Tensor) -> None:
    family = make(name, demo)
    factors = noise(family, 0, family.n_layers - 1)
    with Patch("noise", family.fingerprint, family.name, factors, ()).applied(family):
        meant = family(ids)
    with family.patched(
        making({int(name[-1]): (both.right, both.left) for name, both in factors.items()})
    ):
        torch.testing.assert_close(family(ids), meant, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("parts_of", [joint_parts, finetune_parts])
def test_the_search_starts_from_the_earlier_change(
    demo: Model, jordan: Fact, moments: dict[int, Moment], parts_of
) -> None:
    start, few = noise(demo, 1, 4), {at: moments[at] for at in (1, 2, 4)}
    (prompts,) = training_prompts(demo, [jordan.to("golf")], QUICK)
    parts = parts_of(demo, prompts, [], 1, few, 1.0, start)
    for at, part in parts.items():
        before = (
            start[f"W_down.{at}"].delta.float()
            if at != 2
            else torch.zeros(demo.d_model, demo.d_mlp)
        )
        torch.testing.assert_close(part.R.detach() @ part.Q, before, atol=1e-4, rtol=1e-3)


def test_standing_still_gives_the_earlier_patch_back(
    demo: Model, world: FactSet, moments: dict[int, Moment], jordan: Fact
) -> None:
    """What it did at layers that are searched and at others, with both patches' facts."""
    ruth = next(f for f in world.about("Babe Ruth") if f.relation == "athlete_sport")
    first = Patch("noise", demo.fingerprint, demo.name, noise(demo, 0, 3), (jordan.to("golf"),))
    still = JointSettings(steps=1, essence=2, contexts=1, own=0, max_step=0.0)
    both = edit(
        demo,
        [ruth.to("tennis")],
        method="joint",
        layers=[0, 1],
        moments=moments,
        settings=still,
        after=first,
    )
    assert [fact.subject for fact in both.facts] == ["Michael Jordan", "Babe Ruth"]
    assert set(both.factors) == {"W_down.0", "W_down.1", "W_down.3"}
    for name, factors in first.factors.items():
        torch.testing.assert_close(both.factors[name].delta, factors.delta, atol=1e-4, rtol=1e-3)
    assert both.factors["W_down.1"].norm < 1e-6


@pytest.mark.parametrize(
    ("new", "earlier", "drawn"),
    [(3, 0, (3, 0)), (100, 900, (64, 64)), (100, 20, (100, 20)), (500, 900, (64, 64))],
)
def test_half_of_a_step_is_for_new_facts(
    demo: Model, new: int, earlier: int, drawn: tuple[int, int]
) -> None:
    def prompts(fact: int) -> list[TrainingPrompt]:
        return [TrainingPrompt(fact, (1, 2), 0, (1,), wanted) for wanted in ((5,), (), (6,), (7,))]

    part = LayerChange(
        torch.zeros(1, demo.d_mlp), torch.zeros(demo.d_model, 1, requires_grad=True), 1.0
    )
    own = [prompts(i) for i in range(new + earlier)]
    wanted, kept = JointSearch(
        demo, own[:new], own[new:], [], [], {0: part}, JointSettings()
    )._drawn()
    assert len(wanted) == 2 * len(kept) == 2 * sum(drawn)
    assert sum(prompt.fact < new for prompt in kept) == drawn[0]


@pytest.mark.parametrize(("phrasings", "own"), [(0, 0), (1, 1), (9, 2)])
def test_half_of_what_is_wanted_is_in_own_phrasings(demo: Model, phrasings: int, own: int) -> None:
    """As far as there are any; the others are the prompt, bare or behind a context."""
    prompts = [TrainingPrompt(0, (1, 2), 0, (1,), (token,)) for token in range(1, 5 + phrasings)]
    part = LayerChange(
        torch.zeros(1, demo.d_mlp), torch.zeros(demo.d_model, 1, requires_grad=True), 1.0
    )
    drawn, _ = JointSearch(
        demo, [prompts], [], [], [], {0: part}, JointSettings(contexts=3, prompts=4)
    )._drawn()
    assert sum(prompt in prompts[4:] for prompt in drawn) == own
    assert len(drawn) == len(set(drawn)) == 4


def test_many_facts_get_more_steps_and_more_drift_by_the_root() -> None:
    settings = JointSettings(steps=40, facts=100, drift=0.01)
    assert [settings.steps_for(n) for n in (1, 100, 400)] == [40, 40, 80]
    assert [settings.among(n).drift for n in (1, 100, 400)] == pytest.approx([0.01, 0.01, 0.02])
