"""Paths: their sums are the logits, single ones are what passes the heads forwards, orders' losses
end at the model's own.
"""

import pytest
import torch
from torch import Tensor

from loci.circuits import PromptPair, order_losses, paths, patterns
from loci.circuits.frozen_run import freeze
from loci.circuits.path_expansion import by_order, check_orders, estimate, single_paths
from loci.errors import CircuitError, FactError
from loci.model import Model
from loci.studies.attention_only.init_model import untrained_gpt2
from tests.circuits.built import induction_model
from tests.conftest import tiny_gpt2
from tests.model.families import make

PROMPT = "Michael Jordan plays the sport of"


def attention_only(demo: Model, seed: int = 0) -> Model:
    """A tiny random GPT-2 whose MLPs write nothing, with biases that do."""
    model = tiny_gpt2(demo, seed)
    with torch.no_grad():
        for block in model.hf.transformer.h:
            block.mlp.c_proj.weight.zero_()
            for module in (block.ln_1, block.attn.c_attn, block.attn.c_proj):
                module.bias.normal_(0, 0.1)
    return model


@torch.no_grad()
def no_layers(demo: Model) -> Model:
    """A random model that is an embedding, a norm with a bias, and an unembedding."""
    hf = untrained_gpt2(len(demo.tokenizer), 64, layers=0, heads=2, d_head=8, spread=0.5)
    hf.transformer.ln_f.bias.normal_(0, 0.1)
    return Model(hf, demo.tokenizer, "no layers")


@torch.no_grad()
def test_without_layers_the_direct_path_is_all(demo: Model, ids: Tensor) -> None:
    model = no_layers(demo)
    frozen = freeze(model, ids)
    terms = by_order(frozen, 0)
    assert not frozen.layers and not terms["biases"].any() and not terms["mlps"].any()
    torch.testing.assert_close(frozen.unembed(terms["tokens"][0]), model(ids), atol=1e-4, rtol=1e-4)
    norm = model.norm("final_norm")
    by_hand = (
        torch.nn.functional.layer_norm(model.W_E[ids], [model.d_model], norm.gain, norm.bias)
        @ model.W_U.T
    )
    torch.testing.assert_close(frozen.unembed(frozen.start), by_hand, atol=1e-4, rtol=1e-4)
    found = paths(model, PROMPT, "basketball")
    assert (
        found.exact
        and [str(path) for path in found.top] == ["tokens → logit"]
        and [order.paths for order in found.orders] == [1]
    )
    assert found.constant != 0 and found.top[0].score + found.constant == pytest.approx(
        found.score, abs=1e-4
    )
    assert len(order_losses(model, [PROMPT]).losses) == 1


def test_without_layers_nothing_is_moved(demo: Model) -> None:
    model = no_layers(demo)
    with pytest.raises(CircuitError, match="no heads that look"):
        patterns(model, PROMPT)
    with pytest.raises(CircuitError, match="from the embedding to the logits"):
        PromptPair(model, PROMPT, "Babe Ruth plays the sport of", "basketball")


@torch.no_grad()
def test_terms_of_all_orders_are_the_logits(demo: Model, ids: Tensor) -> None:
    model = attention_only(demo)
    frozen = freeze(model, ids)
    terms = by_order(frozen, model.n_layers)
    assert not frozen.has_mlps and not terms["mlps"].any()
    torch.testing.assert_close(
        frozen.unembed(sum(stream.sum(0) for stream in terms.values())),
        model(ids),
        atol=1e-4,
        rtol=1e-4,
    )
    for n in range(
        1, model.n_layers + 1
    ):  # every order carries something, so that none could be missing unnoticed
        assert float(terms["tokens"][n].norm()) > 1e-2


@pytest.mark.parametrize(
    "name",
    [
        "gpt2",
        "pythia",
        "llama-biased",
        "gemma",
        "gemma2",
        "olmo2",
        "gpt-j",
        "opt",
        "qwen3",
        "mixtral",
    ],
)
@torch.no_grad()
def test_with_mlps_as_starts_the_stream_is_whole(demo: Model, ids: Tensor, name: str) -> None:
    model = make(name, demo)
    frozen = freeze(model, ids)
    terms = by_order(frozen, model.n_layers)
    torch.testing.assert_close(
        sum(stream.sum(0) for stream in terms.values()), frozen.last, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(frozen.unembed(frozen.last), model(ids), atol=1e-4, rtol=1e-4)
    assert frozen.has_mlps


@torch.no_grad()
def test_moves_backwards_are_moves_forwards(demo: Model, ids: Tensor) -> None:
    model = make("gemma2", demo)
    layer = freeze(model, ids).layers[1]
    g = torch.Generator().manual_seed(0)
    x, u = (torch.randn(3, *ids.shape, model.d_model, generator=g) for _ in range(2))
    forwards = layer.by_head(x)
    torch.testing.assert_close(forwards.sum(-3), layer.move(x), atol=1e-4, rtol=1e-4)
    for h, back in enumerate(layer.back(u)):
        torch.testing.assert_close(
            (back * x).sum((1, 2, 3)), (u * forwards[:, :, h]).sum((1, 2, 3)), atol=1e-3, rtol=1e-4
        )


@torch.no_grad()
def test_single_paths_are_what_passes_forwards(demo: Model, ids: Tensor) -> None:
    model = attention_only(demo)
    frozen = freeze(model, ids[:1])
    end = torch.randn(frozen.last.shape, generator=torch.Generator().manual_seed(1))
    found = {(path.start, path.heads): path.score for path in single_paths(frozen, end, 3)}
    passed = frozen.layers[0].by_head(frozen.start)[:, 2]
    assert found["tokens", ("L0H2",)] == pytest.approx(float((passed * end).sum()), abs=1e-3)
    passed = frozen.layers[2].by_head(passed)[:, 1]
    assert found["tokens", ("L0H2", "L2H1")] == pytest.approx(float((passed * end).sum()), abs=1e-3)
    assert sum(name == "tokens" for name, _ in found) == 1 + 12 + 3 * 16 + 64
    terms = by_order(frozen, 3)
    for n in range(4):
        for start in ("tokens", "biases"):
            total = sum(
                score for (name, heads), score in found.items() if len(heads) == n and name == start
            )
            assert total == pytest.approx(float((terms[start][n] * end).sum()), abs=1e-3)


def test_paths_of_a_prompt(demo: Model) -> None:
    found = paths(attention_only(demo), PROMPT, "basketball")
    assert found.exact and found.sum_error < 1e-4 and abs(found.remainder) < 1e-4
    assert [order.paths for order in found.orders] == [1, 12, 48, 64]
    assert sum(order.score for order in found.orders) + found.constant == pytest.approx(
        found.score, abs=1e-4
    )
    strengths = [abs(path.score) for path in found.top]
    assert strengths == sorted(strengths, reverse=True)
    cut = paths(attention_only(demo), PROMPT, "basketball", highest=1)
    assert len(cut.orders) == 2 and cut.remainder == pytest.approx(
        sum(order.score for order in found.orders[2:]), abs=1e-4
    )


def test_paths_of_the_demo(demo: Model) -> None:
    found = paths(demo, PROMPT, "basketball", against="baseball", single=1)
    assert not found.exact and found.sum_error < 1e-3 and found.score > 0
    assert {path.start.rstrip("0123456789") for path in found.top} & {"tokens"} or any(
        "MLP" in path.start for path in found.top
    )
    document = found.to_dict()
    assert document["schema"] == "loci.paths/1" and document["orders"][0]["starts"].keys() == {
        "tokens",
        "biases",
        "mlps",
    }


def test_the_built_model_needs_second_order_for_nothing_but_its_pattern() -> None:
    """Its induction head moves tokens directly: with patterns held, order 1 already says what comes
    next.
    """
    built = induction_model()
    found = order_losses(built, [" ".join(["w3 w9 w4 w17 w8 w2"] * 4)])
    zero, one, two = (loss.value for loss in found.losses)
    assert zero - one > 1 and abs(one - two) < 0.5 and found.exact


@torch.no_grad()
def test_losses_end_at_the_models_own(demo: Model) -> None:
    model = attention_only(demo)
    texts = [PROMPT, "Osaka is a city in the country of Japan"]
    found = order_losses(model, texts)
    own = []
    for text in texts:
        ids = model.ids([model.tokenize(text).ids])
        own.append(float(torch.nn.functional.cross_entropy(model(ids)[0, :-1], ids[0, 1:])))
    assert found.losses[-1].value == pytest.approx(sum(own) / 2, abs=1e-4)
    assert found.losses[0].value - sum(gain.value for gain in found.gains) == pytest.approx(
        found.losses[-1].value, abs=1e-5
    )
    assert order_losses(demo, texts).exact is False


def test_too_much_is_said_before_the_work(demo: Model) -> None:
    with pytest.raises(CircuitError, match=r"about 0\.44 GiB at 7 positions"):
        check_orders(demo, 7, None, 5, 0.1)
    assert estimate(demo, 10, 2) == pytest.approx(2 * 64 * 10 * 256 * 4 / 2**30)
    with pytest.raises(CircuitError, match="0 heads or more"):
        paths(demo, PROMPT, "basketball", highest=-1)
    with pytest.raises(FactError, match="answer is empty"):
        paths(demo, PROMPT, " ")
    with pytest.raises(FactError, match="same token"):
        paths(demo, PROMPT, "basketball", against="basketball")
