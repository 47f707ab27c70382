"""Shares against a loop over the text, skipping against dense products, and rules of activity by
their algebra.
"""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import tiny_gpt2
from tests.model.families import make

from loci.errors import ModelError
from loci.figures.sparsity import sparsity_figure
from loci.model import Model
from loci.reading.activation_sparsity import sparsity
from loci.reading.active_counts import ActivityRule
from loci.survey import windows
from loci.text import sample_text

TEXTS = [
    "Michael Jordan plays the sport of basketball.",
    "The queen put her lamp near the river.",
    "Osaka is in Japan.",
    " ",
    "Lima.",
]


@torch.no_grad()
def test_shares_against_a_loop_over_the_text(demo: Model) -> None:
    texts = sample_text(demo, 3000)
    found = sparsity(demo, texts)
    points = demo.names("mlp_act")
    by_text, tokens, contexts = [], [], {}
    for text in texts:
        ids = demo.tokenize(text).ids
        with demo.watch(*points) as at:
            demo(demo.ids([ids]))
        on = torch.stack([(at[point][0, 1:] != 0).double().mean(-1) for point in points], 1)
        by_text.append(on.mean(0))
        tokens.append(on)
        for i in range(1, len(ids)):
            contexts.setdefault(ids[i], {})[ids[: i + 1]] = float(on[i - 1].mean())
    assert (found.texts, found.tokens) == (len(texts), sum(map(len, tokens)))
    assert (found.threshold, found.relative, found.exact) == (0, False, True)
    for layer, share in enumerate(torch.stack(by_text).mean(0).tolist()):
        assert found.by_layer[layer].value == pytest.approx(share, abs=1e-5)
        assert found.zeros[layer].value == pytest.approx(1 - share, abs=1e-5)
        assert float(found.spread[layer, 1]) == pytest.approx(
            float(torch.cat(tokens)[:, layer].median()), abs=2e-3
        )
    means = {
        token: sum(seen.values()) / len(seen) for token, seen in contexts.items() if len(seen) >= 5
    }
    token, estimate = found.most[0]
    assert estimate.value == pytest.approx(max(means.values()), abs=1e-5)
    assert token in {
        demo.token_text(i)
        for i, mean in means.items()
        if mean == pytest.approx(estimate.value, abs=1e-5)
    }
    assert found.fewest[0][1].value == pytest.approx(min(means.values()), abs=1e-5)


def test_long_texts_are_cut_into_windows(tiny: Model) -> None:
    """Each window by itself, as a survey cuts them; one text is one unit still."""
    text = "Michael Jordan plays the sport of basketball. " * 20
    pieces = windows(tiny, [(0, text)])
    found = sparsity(tiny, [text, "Lima."], threshold=0.1)
    assert len(pieces) > 1 and (found.texts, found.active.n) == (2, 2)
    assert (
        found.tokens == sum(len(piece.labels) for piece in pieces) + len(tiny.tokenize("Lima.")) - 1
    )
    shares = []
    for ids in (*(piece.ids for piece in pieces), tiny.tokenize("Lima.").ids):
        reads = tiny.read(tiny.ids([ids]), *tiny.names("mlp_act"))
        shares.append(
            torch.stack(
                [(act[0, 1:].abs() > 0.1).double().mean(-1) for act in reads.values()]
            ).mean(0)
        )
    expected = (torch.cat(shares[:-1]).mean() + shares[-1].mean()) / 2
    assert found.active.value == pytest.approx(float(expected), abs=1e-5)


def test_skipping_exact_zeros_is_exact(demo: Model) -> None:
    for model in (demo, tiny_gpt2(demo, activation="relu")):
        found = sparsity(model, TEXTS)
        assert found.exact and not any(found.skipped)
        assert max(found.error) < 1e-6, "only the order of a sum differs"
        assert found.saved.value == pytest.approx((1 - found.active.value) / 2)
        assert found.saved == pytest.approx(found.saved_exactly)


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "pythia", "gemma2"])
def test_what_skipping_costs_against_dense_products(name: str, demo: Model) -> None:
    """Without exact zeros, the error is that of the largest left-out part of the sum."""
    model = make(name, demo)
    found = sparsity(model, ["Osaka is in Japan."], threshold=0.3, relative=True)
    assert not found.exact
    with model.watch(*model.names("mlp_act", "mlp_raw")) as at:
        model(model.ids([model.tokenize("Osaka is in Japan.").ids]))
    skip = model.tokenize("a").special
    for layer in range(model.n_layers):
        acts, out = (at[f"{stem}.{layer}"][0, skip:].double() for stem in ("mlp_act", "mlp_raw"))
        small = torch.where(acts.abs() > 0.3 * acts.abs().amax(-1, keepdim=True), 0, acts)
        missing = small @ model.W_down(layer).double().T
        assert found.error[layer] == pytest.approx(
            float(missing.abs().max() / out.abs().max()), rel=1e-3
        )
        assert found.skipped[layer] == pytest.approx(float(small.abs().max()), rel=1e-4)
        assert found.by_layer[layer].value == pytest.approx(
            float((small == 0).double().mean()), abs=1e-6
        )
        assert found.rounding[layer] < 1e-5
    assert found.saved.value == pytest.approx((1 - found.active.value) / (3 if model.gated else 2))


def test_the_default_rule_follows_the_non_linearity(demo: Model) -> None:
    gelu, relu = (
        sparsity(tiny_gpt2(demo, activation=name), TEXTS) for name in ("gelu_new", "relu")
    )
    assert (gelu.relative, gelu.threshold) == (True, 0.01)
    assert (relu.relative, relu.threshold) == (False, 0)
    assert "largest" in gelu.rule and "largest" not in relu.rule
    smooth = sparsity(tiny_gpt2(demo), TEXTS, threshold=0)
    assert smooth.active.value > 0.99, "nothing is exactly 0 with GELU"


@given(
    st.integers(0, 1000), st.floats(0, 0.9), st.floats(0, 0.9), st.sampled_from([0.25, 2.0, 64.0])
)
def test_rules(seed: int, a: float, b: float, scale: float) -> None:
    acts = torch.randn(6, 9, generator=torch.Generator().manual_seed(seed))
    for relative in (False, True):
        low, high = (ActivityRule(threshold, relative).active(acts) for threshold in sorted((a, b)))
        assert not (high & ~low).any(), "a higher threshold never finds more"
    relative = ActivityRule(a, True)
    assert torch.equal(relative.active(scale * acts), relative.active(acts))
    assert relative.active(acts).any(-1).all(), "the largest is always active"
    assert not relative.active(torch.zeros(2, 3)).any()


def test_identical_contexts_count_once(demo: Model) -> None:
    found = sparsity(demo, ["Osaka is in Japan."] * 9)
    assert found.texts == 9
    assert found.most == (), "each token stands behind one context only"


def test_document_and_figure(demo: Model) -> None:
    found = sparsity(demo, sample_text(demo, 2000), top=4)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["schema"] == "loci.sparsity/1"
    assert len(document["most"]) == 4
    assert document["exact"] is True
    assert "exactly the same outputs" in sparsity_figure(found).layout.title.text
    assert "off by up to" in sparsity_figure(sparsity(demo, TEXTS, threshold=1.0)).layout.title.text


def test_what_cannot_be_asked(demo: Model, tiny: Model) -> None:
    with pytest.raises(ModelError, match="mixtures of 4 experts"):
        sparsity(make("mixtral", demo), TEXTS)
    for threshold, relative in ((-0.1, False), (float("nan"), False), (-1, True), (1, True)):
        with pytest.raises(ModelError, match="threshold of activity"):
            sparsity(tiny, TEXTS, threshold=threshold, relative=relative)
    for texts in ([], ["", " "]):
        with pytest.raises(ModelError, match="no text"):
            sparsity(tiny, texts)
    with pytest.raises(ModelError, match="one token at least"):
        sparsity(tiny, TEXTS, checked=0)
