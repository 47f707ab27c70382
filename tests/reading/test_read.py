"""Neuron cards against brute force."""

import pytest
import torch

from loci.errors import ModelError
from loci.model import Model
from loci.model.names import parse_neuron
from loci.reading import project, promoted, read, read_many
from loci.text import sample_text


@torch.no_grad()
def test_card_against_a_loop_over_the_text(demo: Model) -> None:
    texts = sample_text(demo, 2500)
    layer, neuron = 1, 37
    card = read(demo, "L1N37", texts, top=5)
    best, fired, seen = [], 0, 0
    for text in texts:
        tokens = demo.tokenize(text)
        with demo.watch("mlp_act.1") as at:
            demo(demo.ids([tokens.ids]))
        acts = at["mlp_act.1"][0, 1:, neuron]
        best.append((float(acts.max()), text, tokens.labels[1 + int(acts.argmax())]))
        fired, seen = fired + int((acts > 0).sum()), seen + len(acts)
    best.sort(key=lambda item: -item[0])
    for trigger, (value, text, token) in zip(card.triggers, best, strict=False):
        assert trigger.activation == pytest.approx(value, abs=1e-4)
        assert (trigger.before + trigger.token + trigger.after, trigger.token) == (text, token)
    assert (card.tokens, card.firing_rate) == (seen, pytest.approx(fired / seen, abs=1e-4))
    key, value = demo.W_up(layer)[neuron], demo.W_down(layer)[:, neuron]
    assert card.cosine == pytest.approx(float(key @ value / key.norm() / value.norm()), abs=1e-5)
    assert card.key_norm == pytest.approx(float(key.norm()), rel=1e-5)
    assert card.threshold == pytest.approx(-float(demo.module("up", layer).bias[neuron]), rel=1e-5)


@torch.no_grad()
def test_projection_is_the_change_of_the_logits_up_to_the_norms_scale(demo: Model) -> None:
    """For a residual vector x: ln(x) is γ(x − mean)/s + β, so the projection of v is s times how x
    + εv moves the logits, s held.
    """
    x, v = torch.randn(demo.d_model), demo.W_down(2)[:, 5]
    norm = demo.module("final_norm")
    scale = (x.var(unbiased=False) + norm.eps).sqrt()
    frozen = lambda y: demo.W_U @ (norm.weight * (y - y.mean()) / scale + norm.bias)  # noqa: E731
    torch.testing.assert_close(
        project(demo, v) / scale, frozen(x + v) - frozen(x), atol=1e-4, rtol=1e-4
    )


def test_promoted_tokens_are_the_extremes_of_the_projection(demo: Model) -> None:
    high, low = promoted(demo, demo.W_down(3)[:, 100], 4)
    scores = project(demo, demo.W_down(3)[:, 100])
    assert high[0] == (demo.token_text(int(scores.argmax())), pytest.approx(float(scores.max())))
    assert low[0] == (demo.token_text(int(scores.argmin())), pytest.approx(float(scores.min())))
    assert [s for _, s in high] == sorted((s for _, s in high), reverse=True)


def test_many_cards_are_the_single_ones(demo: Model) -> None:
    texts = sample_text(demo, 1500)
    both = read_many(demo, [(2, 7), (0, 3), (2, 900)], texts, top=3)
    assert [card.name for card in both] == ["L2N7", "L0N3", "L2N900"]
    for card in both:
        alone = read(demo, card.name, texts, top=3)
        assert alone.triggers == card.triggers
        assert alone.firing_rate == card.firing_rate


@pytest.mark.parametrize(
    ("name", "says"),
    [("37", "like L1N37"), ("L9N0", "this model has L0N0"), ("L0N4096", "this model has")],
)
def test_names_that_are_no_neurons(demo: Model, name: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        parse_neuron(name, demo)
