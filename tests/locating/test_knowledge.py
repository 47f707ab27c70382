"""Knowledge neurons: what is kept, what scaling does, and controls that are what they say."""

from random import Random

import pytest
import torch
from tests.conftest import tiny_gpt2
from tests.model.families import make

from loci.errors import FactError
from loci.facts import Fact
from loci.locating import knowledge_neurons, neuron_attribution
from loci.locating.knowledge_trial import _Trial
from loci.model import Model

FACT = Fact(
    "Michael Jordan", "{} plays the sport of", "golf", paraphrases=("The sport that {} plays is",)
)


def test_kept_neurons_and_changes_against_plain_runs(demo: Model, jordan: Fact) -> None:
    found = knowledge_neurons(demo, jordan, steps=8, controls=3)
    asked = [
        Fact(jordan.subject, t, jordan.answer)
        for t in dict.fromkeys((jordan.prompt, *jordan.paraphrases))
    ]
    scores = [neuron_attribution(demo, one, baseline="zero", steps=8).scores for one in asked]
    kept = {
        (layer, i)
        for layer in range(6)
        for i in range(1024)
        if sum(bool(s[layer, i] > 0.2 * s.max()) for s in scores) >= 0.5 * len(scores)
    }
    assert {(layer, i) for layer, i, _ in found.cells} == kept
    assert [score for *_, score in found.cells] == sorted(
        (score for *_, score in found.cells), reverse=True
    )
    assert (found.phrasings, found.known) == (len(asked), len(asked))

    def silenced(one: Fact) -> float:
        tokens = demo.tokenize(one.text)
        token = tokens.span(one.subject_span)[1] - 1

        def silence(layer: int):
            def edit(act: torch.Tensor) -> torch.Tensor:
                act = act.clone()
                for at, neuron in kept:
                    if at == layer:
                        act[:, token, neuron] = 0
                return act

            return edit

        target = demo.tokenize(f"{one.text} {one.answer}").ids[len(tokens)]
        with (
            torch.no_grad(),
            demo.patched({f"mlp_act.{layer}": silence(layer) for layer in range(6)}),
        ):
            return float(demo(demo.ids([tokens.ids]))[0, -1].softmax(-1)[target])

    assert found.suppress.after == pytest.approx(sum(map(silenced, asked)) / len(asked), abs=1e-5)
    assert found.suppress.change < min(found.suppress.random.low, 0.0), (
        "more than random neurons cost"
    )
    document = found.to_dict()
    assert document["schema"] == "loci.knowledge/1"
    assert {"neurons", "completeness", "suppress", "amplify", "random", "active"} <= set(document)
    assert set(document["neurons"][0]) == {"layer", "neuron", "score"}


def test_controls_are_as_many_others_of_the_same_layers(demo: Model, jordan: Fact) -> None:
    trial, draws = _Trial(demo, [jordan]), Random(0)
    chosen = {0: [3, 5, 7], 4: [10]}
    for control in (trial.random(chosen, draws), trial.active(chosen, draws)):
        assert {layer: len(set(some)) for layer, some in control.items()} == {0: 3, 4: 1}
        assert not any(set(some) & set(chosen[layer]) for layer, some in control.items())
    sizes = trial.sizes[0]
    loud = int(sizes.argmax())
    active = trial.active({0: [loud]}, draws)[0][0]
    assert sizes[active] >= sizes.sort().values[-12], "a loud neuron is compared with loud ones"
    several = [({}, 0.0), ({0: [3]}, 1.0), ({0: [loud], 4: [1, 2]}, 0.0), ({4: [1, 2]}, 2.0)]
    alone = [trial.probabilities([one])[0] for one in several]
    assert trial.probabilities(several) == pytest.approx(alone, abs=1e-6)
    assert alone[0] == alone[1] != alone[2]


@pytest.mark.parametrize("name", ["llama", "pythia", "gemma2"])
def test_other_families(name: str, demo: Model) -> None:
    found = knowledge_neurons(
        make(name, demo), FACT, steps=4, controls=2, baseline="corrupted", samples=2
    )
    assert found.phrasings == 2
    assert found.cells


def test_settings_that_mean_nothing(demo: Model, jordan: Fact) -> None:
    with pytest.raises(FactError, match="lie between 0 and 1"):
        knowledge_neurons(demo, jordan, threshold=1.5)
    with pytest.raises(FactError, match="no baseline"):
        knowledge_neurons(demo, jordan, baseline="noise")


def sharp(demo: Model) -> Model:
    """A random model whose answer turns on and off in a small part of the way: few steps pass it
    by.
    """
    model = tiny_gpt2(demo, seed=1)
    with torch.no_grad():
        model.hf.transformer.ln_f.weight.mul_(10)
        for layer in range(model.n_layers):
            model.W_down(layer).mul_(10)
    return model


def said_by(model: Model) -> Fact:
    """The fact with what the model itself says."""
    said = int(model(model.ids([model.tokenize(FACT.text).ids]))[0, -1].argmax())
    return Fact(
        FACT.subject, FACT.prompt, model.token_text(said).strip(), paraphrases=FACT.paraphrases
    )


@pytest.mark.numerical
def test_steps_are_added_until_attributions_add_up(demo: Model) -> None:
    model = sharp(demo)
    fact = said_by(model)
    few = neuron_attribution(model, fact, baseline="zero", steps=2, tolerance=1e9)
    total, expected = few.completeness
    assert few.steps == 2 and few.complete, "1e9 allows anything"
    assert abs(total - expected) > 0.05 * abs(expected), "2 points alone pass it by"
    found = neuron_attribution(model, fact, baseline="zero", steps=2)
    total, expected = found.completeness
    assert 2 < found.steps <= 32 and found.complete and found.warning is None
    assert abs(total - expected) <= 0.02 * abs(expected)
    document = found.to_dict()
    assert (
        document["steps"] == found.steps
        and document["complete"]
        and set(document["completeness"]) == {"sum", "expected"}
    )


@pytest.mark.numerical
def test_what_does_not_add_up_is_said(demo: Model, capsys: pytest.CaptureFixture[str]) -> None:
    from loci.cli.show import show

    model = sharp(demo)
    fact = said_by(model)
    found = neuron_attribution(model, fact, baseline="zero", steps=1, tolerance=1e-12)
    assert found.steps == 16 and not found.complete
    assert "16 steps do not close" in (found.warning or "")
    known = knowledge_neurons(model, fact, steps=1, tolerance=1e-12, controls=2)
    assert known.steps == 16 and known.incomplete >= 1
    assert f"in {known.incomplete} of 2 phrasings 16 steps" in (known.warning or "")
    document = known.to_dict()
    assert (document["steps"], document["incomplete"]) == (16, known.incomplete) and set(
        document["completeness"]
    ) == {
        "sum",
        "expected",
    }
    show(known)
    assert "warning" in capsys.readouterr().out
    for steps, tolerance in ((0, 0.1), (4, 0.0), (4, float("nan"))):
        with pytest.raises(FactError, match="steps are 1 or more"):
            neuron_attribution(model, FACT, steps=steps, tolerance=tolerance)
