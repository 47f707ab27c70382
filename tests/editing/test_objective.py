"""One objective: its terms against their definition, and who minimises it."""

from collections.abc import Callable

import pytest
import torch

from loci.editing import BARE, JointSettings, TrainingPrompt, find_targets
from loci.editing.calibration import loss, said
from loci.editing.edit import edit
from loci.editing.objective import EditObjective, token_losses
from loci.facts import Fact
from loci.model import Model


def test_losses_are_their_definitions() -> None:
    made = torch.Generator().manual_seed(0)
    after = torch.randn(4, 5, generator=made, dtype=torch.float64).log_softmax(-1)
    before = torch.randn(2, 5, generator=made, dtype=torch.float64).log_softmax(-1)
    losses = token_losses(after.float(), torch.tensor([3, -1, 0, -1]), before.float()).double()
    p, q = before.exp(), after[[1, 3]].exp()
    kl = [sum(p[row, v] * (p[row, v] / q[row, v]).log() for v in range(5)) for row in range(2)]
    meant = torch.stack([-after[0, 3], kl[0], -after[2, 0], kl[1]])
    torch.testing.assert_close(losses, meant, atol=1e-5, rtol=1e-5)


def test_terms_are_weighted_by_name() -> None:
    objective = EditObjective(retain=2.0, text=6.0, size=0.5)
    assert objective(edit=1.0, retain=10.0, text=100.0, size=1000.0) == 1 + 20 + 600 + 500
    facts = objective(edit=torch.tensor([1.0, 2.0]), retain=torch.tensor([0.5, 0.0]))
    assert facts.tolist() == [2.0, 2.0]
    settings = JointSettings(kl=3.0, neighbours=4.0, text=5.0, decay=0.25)
    assert settings.objective == EditObjective(retain=3.0, neighbours=4.0, text=5.0, size=0.25)


class Minimised(Exception):
    """Raised in place of the objective."""


def targets(model: Model, fact: Fact) -> None:
    ids = model.tokenize(fact.text).ids
    find_targets(model, [fact], 0, BARE, [[TrainingPrompt(0, ids, 1, (len(ids) - 1,), (5,))]])


def joint(model: Model, fact: Fact) -> None:
    few = JointSettings(steps=1, essence=0, contexts=0, own=0, texts=2, retained=0)
    C = torch.eye(model.d_mlp, dtype=torch.float64)
    texts = ["Osaka is a city in Japan.", "Seven people came to see it."]
    edit(model, fact, method="joint", layers=[0], moments={0: C}, texts=texts, settings=few)


def calibration(model: Model, fact: Fact) -> None:
    prompt = TrainingPrompt(0, model.tokenize(fact.text).ids, 1, (2,))
    loss([prompt], said(model, [prompt]), said(model, [prompt]))


@pytest.mark.parametrize("caller", [targets, joint, calibration])
def test_every_search_minimises_it(
    tiny: Model,
    jordan: Fact,
    caller: Callable[[Model, Fact], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: EditObjective, **terms: object) -> None:
        raise Minimised

    monkeypatch.setattr(EditObjective, "__call__", refuse)
    with pytest.raises(Minimised):
        caller(tiny, jordan.to("golf"))
