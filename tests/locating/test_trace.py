"""Causal tracing against a plain loop of hooked full runs, and its invariants."""

import pytest
import torch

from loci.errors import FactError
from loci.facts import Fact, FactSet
from loci.locating import KINDS, Kind, average_trace, neuron_attribution, trace
from loci.locating.average import ROLES
from loci.locating.corruption import Corruption
from loci.locating.runs import POINT
from loci.locating.trace_words import trace_words
from loci.model import Model

FACT = Fact("Michael Jordan", "{} played for the team called", "Chicago Bulls")


def plain_trace(
    model: Model, fact: Fact, kind: Kind, samples: int, seed: int, window: int
) -> torch.Tensor:
    """One hooked full forward per cell, as the published code does: nothing batched over cells,
    nothing replayed. The effects [layer, token, draw].
    """
    tokens = model.tokenize(f"{fact.text} {fact.answer}")
    length = len(model.tokenize(fact.text))
    answer = tokens.ids[length:]
    ids = model.ids([tokens.ids[:-1]])
    subject = tokens.span(fact.subject_span)
    names = [f"{POINT[kind]}.{layer}" for layer in range(model.n_layers)]
    with model.watch(*names) as clean:
        model(ids)
    noise = Corruption("noise", 3.0, samples, seed).edit(model, fact, subject)

    def p() -> torch.Tensor:
        logprobs = model(ids.expand(samples, -1))[:, length - 1 :].log_softmax(-1)
        return torch.stack([logprobs[:, k, token] for k, token in enumerate(answer)]).sum(0).exp()

    with model.patched({"embed": noise}):
        low = p()
    grid = torch.zeros(model.n_layers, length, samples)
    for layer in range(model.n_layers):
        start = layer - window // 2 if kind != "state" else layer
        stop = start + window if kind != "state" else layer + 1
        for t in range(length):

            def put(state, t=t, name=None):
                state = state.clone()
                state[:, t] = clean[name][:, t]
                return state

            window_edits = {
                names[i]: lambda state, i=i, t=t: put(state, t, names[i])
                for i in range(max(0, start), min(model.n_layers, stop))
            }
            with model.patched({"embed": noise, **window_edits}):
                grid[layer, t] = p() - low
    return grid


@torch.no_grad()
@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_the_plain_loop(tiny: Model, kind: Kind, window: int) -> None:
    found = trace(tiny, FACT, kinds=(kind,), samples=3, seed=4, window=window, budget=60)
    drawn = plain_trace(tiny, FACT, kind, 3, 4, window)
    torch.testing.assert_close(found.grids[kind], drawn.mean(-1), atol=1e-6, rtol=0)
    error = (drawn - drawn.mean(-1, keepdim=True)).square().sum(-1).div(3 * 2).sqrt()
    torch.testing.assert_close(found.errors[kind], error, atol=1e-6, rtol=0)


@torch.no_grad()
def test_equal_to_the_plain_loop_on_the_embedded_model(demo: Model) -> None:
    found = trace(demo, FACT, kinds=("mlp",), samples=2)
    torch.testing.assert_close(
        found.grids["mlp"], plain_trace(demo, FACT, "mlp", 2, 0, 1).mean(-1), atol=1e-5, rtol=0
    )
    assert found.to_dict()["errors"]["mlp"][0][-1] == float(found.errors["mlp"][0, -1])


def test_restoring_everything_is_the_clean_run_and_nothing_the_corrupted(demo: Model) -> None:
    found = trace(demo, FACT, window=2 * demo.n_layers)
    grid = found.grids["state"]
    start, _ = found.subject_span
    assert grid[-1, :-1].abs().max() < 1e-5, (
        "the last layer's state elsewhere does not reach the answer"
    )
    assert grid[:, :start].abs().max() < 1e-5, "tokens before the subject are clean anyway"


@torch.no_grad()
def test_restoring_every_mlp_and_attention_gives_the_clean_run(demo: Model, jordan: Fact) -> None:
    """With embeddings clean again too, nothing is left of the corruption; without any restoring,
    all of it is.
    """
    found = trace(demo, jordan, kinds=("attn",), samples=3)
    noise = Corruption(samples=3).edit(demo, jordan, found.subject_span)
    ids = demo.ids([demo.tokenize(jordan.text).ids])
    token = demo.tokenize(f"{jordan.text} {jordan.answer}").ids[-1]
    points = [f"{part}_out.{layer}" for part in ("attn", "mlp") for layer in range(demo.n_layers)]
    with demo.watch("embed", *points) as clean:
        demo(ids)
    with demo.patched({"embed": noise}):
        assert float(demo(ids.expand(3, -1))[:, -1].softmax(-1)[:, token].mean()) == pytest.approx(
            found.corrupted, abs=1e-5
        )
        restored = {name: lambda out, name=name: clean[name].expand_as(out) for name in points}
        with demo.patched({"embed": lambda out: clean["embed"].expand_as(out), **restored}):
            assert float(
                demo(ids.expand(3, -1))[:, -1].softmax(-1)[:, token].mean()
            ) == pytest.approx(found.clean, abs=1e-5)


def test_one_token_answer_comes_back_in_full(demo: Model, jordan: Fact) -> None:
    found = trace(demo, jordan, kinds=("state",))
    assert float(found.grids["state"][-1, -1]) + found.corrupted == pytest.approx(
        found.clean, abs=1e-5
    )


def test_all_kinds_share_one_corruption_and_seeds_matter(demo: Model, jordan: Fact) -> None:
    both, alone = (
        trace(demo, jordan, seed=1),
        trace(demo, jordan, kinds=("attn",), seed=1, budget=400),
    )
    torch.testing.assert_close(both.grids["attn"], alone.grids["attn"], atol=1e-5, rtol=0)
    assert both.corrupted == pytest.approx(alone.corrupted, abs=1e-6)
    assert trace(demo, jordan, seed=2).corrupted != both.corrupted


def test_document_has_the_promised_fields(demo: Model, jordan: Fact) -> None:
    document = trace(demo, jordan).to_dict()
    promised = {
        "schema",
        "model",
        "prompt",
        "subject",
        "answer",
        "tokens",
        "subject_span",
        "clean",
        "corrupted",
        "samples",
        "grids",
    }
    assert promised <= set(document)
    assert set(document["grids"]) == set(KINDS)
    assert len(document["grids"]["mlp"]) == demo.n_layers
    assert {len(row) for row in document["grids"]["mlp"]} == {len(document["tokens"])}
    a, b = document["subject_span"]
    assert [t.strip() for t in document["tokens"][a:b]] == ["Michael", "Jordan"]


def test_an_answer_that_is_not_the_models_is_said_to_be_so(demo: Model, jordan: Fact) -> None:
    assert trace(demo, jordan, samples=1).known
    wrong = trace(demo, Fact(jordan.subject, jordan.prompt, "chess"), samples=1)
    assert not wrong.known
    assert trace_words(wrong).startswith("Mind: “chess” is not what the model says here.")
    assert wrong.to_dict()["known"] is False


@pytest.mark.parametrize("text", ["Michael Jordan", "Japan"])
def test_a_prompt_that_is_its_subject(demo: Model, text: str) -> None:
    found = trace(demo, Fact.from_text(text, text, "is"), samples=2)
    assert found.subject_span == (1, len(found.tokens))
    assert found.grids["state"][-1, -1] + found.corrupted == pytest.approx(found.clean, abs=1e-5)


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"noise": 0.0}, {"window": 0}])
def test_settings_that_mean_nothing(tiny: Model, wrong: dict) -> None:
    with pytest.raises(FactError, match="tracing needs"):
        trace(tiny, FACT, **wrong)


def test_average_over_facts_shows_both_sites(demo: Model, world: FactSet) -> None:
    """Early MLPs at the last subject token, and late attention at the last token; unknown facts are
    left out and counted.
    """
    facts = [f for f in world.sample(60, seed=1) if len(f.prompt) - f.prompt.index("{}") > 8][:30]
    average = average_trace(
        demo, [*facts, Fact("Michael Jordan", "{} plays the sport of", "chess")], samples=5
    )
    assert average.unknown >= 1
    mlp, attn, state = (average.grid(kind) for kind in ("mlp", "attn", "state"))
    role = {name: i for i, name in enumerate(ROLES)}
    half = demo.n_layers // 2
    assert mlp[:half, role["last subject"]].max() > 2 * mlp[half:, role["last subject"]].max()
    assert mlp[:half, role["last subject"]].max() > 2 * mlp[:half, role["last"]].max()
    assert attn[half:, role["last"]].max() > attn[:half, role["last"]].max()
    assert state[-1, role["last"]] > state[0, role["last"]]
    cell = average.effects["mlp"][0][role["last subject"]]
    assert cell.low < cell.value < cell.high
    assert cell.n == average.n


def test_neurons_take_the_cells_of_the_trace_apart(demo: Model, jordan: Fact) -> None:
    """Each layer's attributions sum to the indirect effect of its MLP at the last subject token,
    which tracing finds by itself.
    """
    traced = trace(demo, jordan, kinds=("mlp",), samples=4, seed=3)
    found = neuron_attribution(demo, jordan, samples=4, seed=3, steps=64)
    assert found.token == traced.subject_span[1] - 1
    torch.testing.assert_close(
        found.expected, traced.grids["mlp"][:, found.token], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(found.scores.sum(1), found.expected, atol=5e-3, rtol=0.02)
    total, expected = found.completeness
    assert total == pytest.approx(expected, abs=0.02)
    assert expected > 0.1


def test_neurons_against_zero_sum_to_what_silencing_the_layer_costs(tiny: Model) -> None:
    """The knowledge-neuron baseline, against a plain silenced run and a finite difference."""
    fact = Fact("Michael Jordan", "{} plays the sport of", "golf")
    found = neuron_attribution(tiny, fact, baseline="zero", steps=64)
    tokens = tiny.tokenize(fact.text)
    last, token = (
        tokens.span(fact.subject_span)[1] - 1,
        tiny.tokenize(f"{fact.text} {fact.answer}").ids[len(tokens)],
    )

    def silenced(layer: int) -> float:
        def silence(act: torch.Tensor) -> torch.Tensor:
            act = act.clone()
            act[:, last] = 0
            return act

        with torch.no_grad(), tiny.patched({f"mlp_act.{layer}": silence}):
            return float(tiny(tiny.ids([tokens.ids]))[0, -1].softmax(-1)[token])

    with torch.no_grad():
        full = float(tiny(tiny.ids([tokens.ids]))[0, -1].softmax(-1)[token])
    assert found.expected.tolist() == pytest.approx(
        [full - silenced(layer) for layer in range(3)], abs=1e-7
    )
    torch.testing.assert_close(found.scores.sum(1), found.expected, atol=1e-6, rtol=0.01)


def test_neurons_document(demo: Model, jordan: Fact) -> None:
    document = neuron_attribution(demo, jordan).to_dict(5)
    assert len(document["neurons"]) == 5
    scores = [cell["score"] for cell in document["neurons"]]
    assert scores == sorted(scores, reverse=True)
