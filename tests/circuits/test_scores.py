"""Scores of heads: the induction model built by hand, random models,
and the definitions by loops.
"""

import pytest
import torch

from loci.circuits import (
    compose,
    embed,
    head,
    head_scores,
    induction,
    neuron_links,
    paths,
    patterns,
    repeat,
    repeated_tokens,
    token_circuit,
    unembed,
)
from loci.circuits.measured_scores import looked
from loci.errors import CircuitError, LociError, ModelError
from loci.model import Model
from tests.circuits.built import induction_model
from tests.conftest import tiny_gpt2
from tests.model.families import make

PROMPT = "Michael Jordan plays the sport of"


@pytest.fixture(scope="module")
def built() -> Model:
    return induction_model()


def test_the_built_model_scores_one(built: Model) -> None:
    found = head_scores(built, length=14, repeats=4)
    assert found.of("L0H0").value("previous_token") == pytest.approx(1.0, abs=1e-6)
    induction = found.of("L1H0").measured["induction"]
    assert induction.value == pytest.approx(1.0, abs=1e-6) and induction.low == pytest.approx(
        1.0, abs=1e-6
    )
    assert found.of("L1H0").value("copying") == pytest.approx(1.0, abs=1e-5)
    assert (
        found.top("induction", 1)[0].name == "L1H0"
        and found.top("induction", 2)[1].value("induction") < 0.2
    )
    assert found.of("L1H0").value("copying_positivity") == pytest.approx(1.0, abs=1e-3)


@torch.no_grad()
def test_the_built_model_says_what_came_after(built: Model) -> None:
    text = repeated_tokens(built, length=15, repeats=3, samples=4)
    said = built(text.ids).argmax(-1)
    assert torch.equal(said[:, text.again.start : -1], text.ids[:, text.again.start + 1 :])


def test_scores_by_loops(demo: Model) -> None:
    model = make("llama", demo)
    text = repeated_tokens(model, length=5, repeats=3, samples=3)
    with model.watch("attn_probs.1") as reads, torch.no_grad():
        model(text.ids)
    A, L, first = reads["attn_probs.1"], text.length, text.start
    found = looked(text, A)
    places = range(first + L, text.width)
    expected = {
        "previous_token": [A[:, :, i, i - 1] for i in range(first, text.width)],
        "duplicate": [sum(A[:, :, i, j] for j in range(i - L, first - 1, -L)) for i in places],
        "induction": [sum(A[:, :, i, j + 1] for j in range(i - L, first - 1, -L)) for i in places],
        "first": [A[:, :, i, 0] for i in places],
        "current": [A[:, :, i, i] for i in places],
        "entropy": [-(A[:, :, i, : i + 1] * A[:, :, i, : i + 1].log()).sum(-1) for i in places],
    }
    assert found.keys() == expected.keys()
    for name, parts in expected.items():
        torch.testing.assert_close(found[name], torch.stack(parts).mean(0), msg=name)


def test_random_heads_are_near_chance(demo: Model) -> None:
    found = head_scores(make("pythia", demo), length=15, samples=8)
    for row in found.heads:
        assert abs(row.value("copying") - (2 / 15 - 1)) < 0.1
        assert row.value("induction") < 0.2
        assert abs(row.value("ov_positivity")) < 0.7


def test_positivities_are_those_of_the_full_circuits(demo: Model) -> None:
    """Tokens summed out once, against the algebra head by head, against vocabulary × vocabulary."""
    model = make("gemma", demo)
    found, E, U = head_scores(model, length=5, samples=1), embed(model), unembed(model)
    for h in (0, 3):
        one, row = head(model, f"L1H{h}"), found.of(f"L1H{h}")
        assert (U @ one.ov @ E).positivity == pytest.approx(
            row.value("copying_positivity"), abs=1e-5
        )
        assert one.qk.on_key(E).on_query(E).positivity == pytest.approx(
            row.value("qk_positivity"), abs=1e-5
        )


def test_document(demo: Model) -> None:
    found = head_scores(demo, samples=4, weights=False)
    document = found.to_dict()
    assert document["schema"] == "loci.heads/1" and len(document["heads"]) == 48
    row = document["heads"][9]
    assert (row["layer"], row["head"]) == (1, 1)
    assert row["intervals"]["induction"][0] <= row["induction"] <= row["intervals"]["induction"][1]
    assert found.grid("induction")[1][1] == row["induction"]
    again = head_scores(demo, samples=4, weights=False)
    assert again == found
    assert head_scores(demo, samples=4, weights=False, seed=1) != found


def test_attention_that_cannot_be_seen(demo: Model) -> None:
    hidden = make("falcon-rw", demo)
    with pytest.raises(ModelError, match="attn_probs"):
        head_scores(hidden)
    assert compose(hidden).null == pytest.approx(
        hidden.d_model**-0.5
    )  # its weights can be composed all the same


@pytest.mark.parametrize("broken", ["W_V", "W_E"])
@torch.no_grad()
def test_a_broken_checkpoint_says_so(demo: Model, broken: str) -> None:
    model = tiny_gpt2(demo)
    (model.W_E if broken == "W_E" else model.W_V(0))[0] = torch.nan
    for look in (
        head_scores,
        induction,
        lambda m: token_circuit(m, "L0H0"),
        lambda m: patterns(m, PROMPT),
        lambda m: paths(m, PROMPT, "basketball"),
    ):
        with pytest.raises(LociError, match="NaN or infinity"):
            look(model)
    if broken == "W_V":
        for look in (compose, lambda m: neuron_links(m, "L0N1")):
            with pytest.raises(LociError, match=r"layer 0 of .* NaN or infinity"):
                look(model)


def test_what_does_not_fit(demo: Model, built: Model) -> None:
    for length, repeats, message in (
        (40, 4, "at most 31 tokens"),
        (1, 4, "too short to repeat"),
        (5, 1, "at least twice"),
    ):
        with pytest.raises(CircuitError, match=message):
            head_scores(demo, length=length, repeats=repeats)
    with pytest.raises(CircuitError, match="vocabulary of 30"):
        repeated_tokens(built, length=40)
    with pytest.raises(CircuitError, match="no score"):
        head_scores(demo, samples=1, weights=False).top("charm")
    assert repeat(demo, [[5, 6, 7]], 2).ids.tolist() == [[0, 5, 6, 7, 5, 6, 7]]
