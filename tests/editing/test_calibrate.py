import pytest
import torch

from loci.auditing import counterfactuals
from loci.editing import Covariance, calibrate, default_layer, key_moments
from loci.editing.calibration import candidates, is_embedded, loss, said
from loci.editing.edit import edit
from loci.editing.prompts import TrainingPrompt
from loci.facts import FactSet
from loci.model import Model
from loci.text import sample_text


def test_the_embedded_model_is_known_by_its_weights(demo: Model, tiny: Model) -> None:
    assert is_embedded(demo) and not is_embedded(tiny)


def test_calibration_finds_the_layer_where_names_are_looked_up(demo: Model, world: FactSet) -> None:
    """Layer 0 beside the last one, where a subject cannot tell what is asked of it."""
    moments = key_moments(demo, [0, 5])
    facts = counterfactuals(world, 3, 1)
    found = calibrate(
        demo,
        facts,
        "memit",
        {at: Covariance.of(C) for at, C in moments.items()},
        sample_text(demo, 300),
    )
    assert found.best.layer == default_layer(demo) == 0
    assert {trial.layer for trial in found.trials} == {0, 5}
    losses = {trial.lam: trial.loss for trial in found.trials if trial.layer == 0}
    assert losses[1.0] > losses[0.1], "half of each target given up leaves answers unsaid"


def test_an_unknown_model_is_calibrated_and_the_patch_says_so(tiny: Model, world: FactSet) -> None:
    patch = edit(tiny, counterfactuals(world, 2, 0), method="memit")
    trials = patch.numbers["calibration"]["trials"]
    best = min(trials, key=lambda trial: trial["loss"])
    assert {trial["layer"] for trial in trials} <= set(candidates(tiny)) == {0, 1, 2}
    assert (patch.layers, patch.numbers["slack"]) == ([best["layer"]], best["slack"])
    said_so = edit(tiny, counterfactuals(world, 2, 0), method="memit", layers=[1])
    assert "calibration" not in said_so.numbers


@torch.no_grad()
def test_the_loss_of_nothing_is_the_surprise_alone(demo: Model) -> None:
    ids = demo.tokenize("Osaka is a city in the country of Japan").ids
    prompts = [
        TrainingPrompt(0, ids[:-1], 2, (len(ids) - 2,), (ids[-1],)),
        TrainingPrompt(0, ids, 2, tuple(range(2, len(ids)))),
    ]
    before = said(demo, prompts)
    logits = demo(demo.ids([ids[:-1]]))[0, -1].log_softmax(-1)
    assert loss(prompts, before, before) == pytest.approx(-float(logits[ids[-1]]), abs=1e-4)
