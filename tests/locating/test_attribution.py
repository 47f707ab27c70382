"""Gradients against finite differences, against exact tracing where they are exact, and against
each other.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.model.families import make

from loci.errors import FactError
from loci.facts import Fact
from loci.locating import KINDS, Corruption, attribute, trace
from loci.locating.runs import prepare
from loci.model import Model
from loci.stats import rank_correlation

FACT = Fact("Michael Jordan", "{} plays the sport of", "golf")


@pytest.mark.parametrize("name", ["gpt2", "falcon-7b", "llama", "gemma2", "pythia"])
def test_small_corruptions_are_linear(name: str, demo: Model) -> None:
    """In the limit of little noise the estimate is the exact effect: each is the derivative along
    the step.
    """
    model = make(name, demo)
    found = attribute(model, FACT, method="gradient", corruption="fixed", noise=3e-3, samples=2)
    for kind in KINDS:
        exact = found.exact[kind]
        scale = float(exact.abs().max())
        assert scale > 0
        torch.testing.assert_close(found.grids[kind], exact, atol=0.05 * scale, rtol=0.05)


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "falcon-7b", "gemma2"])
def test_one_step_against_a_finite_difference(name: str, demo: Model) -> None:
    """With one step the slope is taken halfway between the corrupted and the clean embedding."""
    model = make(name, demo)
    found = attribute(model, FACT, steps=1, samples=2, compare=False)
    assert found.agreement == {}
    sweep = prepare(model, FACT, Corruption(samples=2))
    token = found.subject_span[1] - 1

    def p(point: str, layer: int, h: float) -> float:
        def move(state: torch.Tensor) -> torch.Tensor:
            state = state.clone()
            state[:, token] += (
                h
                * (
                    sweep.clean_states[f"{point}.{layer}"]
                    - sweep.corrupted_states[f"{point}.{layer}"]
                )[:, token]
            )
            return state

        with model.patched({"embed": lambda e: (e + sweep.hide(e)) / 2, f"{point}.{layer}": move}):
            logits = model(sweep.asked.ids.expand(2, -1))
        return float(logits[:, -1].double().softmax(-1)[:, sweep.asked.targets[0]].mean())

    for kind, point in (("state", "resid_post"), ("mlp", "mlp_out"), ("attn", "attn_out")):
        for layer in range(model.n_layers):
            slope = (p(point, layer, 0.05) - p(point, layer, -0.05)) / 0.1
            scale = float(found.grids[kind].abs().max())
            assert float(found.grids[kind][layer, token]) == pytest.approx(
                slope, abs=0.02 * scale, rel=0.02
            )


def test_agreement_with_exact_tracing_is_reported(demo: Model, jordan: Fact) -> None:
    found = attribute(demo, jordan, samples=4)
    exact = trace(demo, jordan, samples=4)
    for kind in KINDS:
        torch.testing.assert_close(found.exact[kind], exact.grids[kind], atol=1e-6, rtol=0)
    assert set(found.agreement) == set(KINDS)
    assert found.agreement["state"] > 0.5
    document = found.to_dict()
    assert document["schema"] == "loci.attribution/1"
    assert set(document["agreement"]) == set(KINDS)
    with pytest.raises(FactError, match="gradient or integrated"):
        attribute(demo, jordan, method="guess")


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_rank_correlation(values: list[int], random) -> None:
    """Of a list with itself 1, with its negative −1, untouched by monotone maps, as by the textbook
    formula where ranks differ.
    """
    if len(set(values)) == 1:
        assert math.isnan(rank_correlation(values, values))
        return
    assert rank_correlation(values, values) == pytest.approx(1)
    assert rank_correlation(values, [-v for v in values]) == pytest.approx(-1)
    assert rank_correlation(values, [v**3 + 2 * v for v in values]) == pytest.approx(1)
    shuffled = list(range(len(values)))
    random.shuffle(shuffled)
    n = len(shuffled)
    expected = 1 - 6 * sum((i - r) ** 2 for i, r in enumerate(shuffled)) / (n * (n * n - 1))
    assert rank_correlation(list(range(n)), shuffled) == pytest.approx(expected)
