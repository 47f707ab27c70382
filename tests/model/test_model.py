"""The model room against plain Hugging Face."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM

from loci.errors import ModelError
from loci.model import LAYOUTS, Model, by_length, by_near_length
from loci.model.points import ATTENTION, ONCE


def points(model: Model) -> list[str]:
    stems = [stem for stem in model.points() if stem not in ATTENTION]
    return [
        name
        for stem in stems
        for name in ([stem] if stem in ONCE else [f"{stem}.{i}" for i in range(model.n_layers)])
    ]


@pytest.fixture(params=["tiny", "demo"])
def model(request: pytest.FixtureRequest) -> Model:
    return request.getfixturevalue(request.param)


@torch.no_grad()
def test_logits_are_those_of_hugging_face(demo: Model, ids: Tensor) -> None:
    plain = AutoModelForCausalLM.from_pretrained(demo.hf.config._name_or_path, dtype=torch.float32)
    assert torch.equal(demo(ids), plain(ids).logits)


@torch.no_grad()
def test_identity_patches_change_nothing(model: Model, ids: Tensor) -> None:
    bare = model(ids)
    for name in points(model):
        with model.patched({name: lambda x: x}):
            assert (model(ids) - bare).abs().max() == 0, name
    with model.watch(*points(model)) as reads:
        assert torch.equal(model(ids), bare)
    assert set(reads) == set(points(model))


@torch.no_grad()
def test_parts_sum_to_the_residual_stream(model: Model, ids: Tensor) -> None:
    with model.watch(*points(model)) as at:
        model(ids)
    for layer in range(model.n_layers):
        total = at[f"resid_pre.{layer}"] + at[f"attn_out.{layer}"]
        torch.testing.assert_close(total, at[f"resid_mid.{layer}"])
        torch.testing.assert_close(total + at[f"mlp_out.{layer}"], at[f"resid_post.{layer}"])


@torch.no_grad()
def test_weights_are_views_that_reproduce_the_modules(model: Model, ids: Tensor) -> None:
    with model.watch(*points(model)) as at:
        logits = model(ids)
    for layer in range(model.n_layers):
        pre = at[f"mlp_in.{layer}"] @ model.W_key(layer).T + model.b_key(layer)
        torch.testing.assert_close(pre, at[f"mlp_pre.{layer}"], atol=1e-5, rtol=1e-5)
        down = model.module("down", layer)
        torch.testing.assert_close(
            at[f"mlp_act.{layer}"] @ model.W_down(layer).T + down.bias,
            at[f"mlp_out.{layer}"],
            atol=1e-5,
            rtol=1e-5,
        )
        assert (
            model.weight(f"W_down.{layer}").untyped_storage().data_ptr()
            == down.weight.untyped_storage().data_ptr()
        )
    torch.testing.assert_close(model.unembed(at[f"resid_post.{model.n_layers - 1}"]), logits)
    torch.testing.assert_close(at["final"] @ model.W_U.T, logits)


@torch.no_grad()
def test_replay_is_the_full_run_from_every_layer(model: Model, ids: Tensor) -> None:
    run = model.record(ids)
    for layer in range(model.n_layers):
        torch.testing.assert_close(
            run.replay(layer, run.resid_pre(layer)), run.logits, atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            run.replay(layer, run.resid_pre(layer), last=2), run.logits[:, -2:], atol=1e-5, rtol=0
        )


@torch.no_grad()
def test_replay_in_another_batch_size(model: Model, ids: Tensor) -> None:
    run = model.record(ids[:1])
    logits = run.replay(1, run.resid_pre(1).repeat(5, 1, 1))
    torch.testing.assert_close(logits, run.logits.expand(5, -1, -1), atol=1e-5, rtol=0)


def test_replay_carries_gradients(tiny: Model, ids: Tensor) -> None:
    """Against a finite difference, in float64."""
    tiny.hf.double()
    run = tiny.record(ids)
    resid = run.resid_pre(1).clone().requires_grad_()
    run.replay(1, resid)[:, -1, 7].sum().backward()
    step = torch.zeros_like(resid)
    step[0, 1, 3] = 1e-6
    with torch.no_grad():
        difference = (run.replay(1, resid + step) - run.replay(1, resid - step))[
            :, -1, 7
        ].sum() / 2e-6
    torch.testing.assert_close(resid.grad[0, 1, 3], difference, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_read_stops_early_and_reads_the_same(tiny: Model, ids: Tensor) -> None:
    with tiny.watch("mlp_act.1") as full:
        tiny(ids)
    calls = []
    handle = tiny.blocks[2].register_forward_pre_hook(lambda *_: calls.append(1))
    assert torch.equal(tiny.read(ids, "mlp_act.1")["mlp_act.1"], full["mlp_act.1"])
    assert not calls
    assert set(tiny.read(ids, "mlp_act.1", "mlp_act.0")) == {"mlp_act.0", "mlp_act.1"}
    handle.remove()


def test_hooks_live_as_long_as_the_block(tiny: Model, ids: Tensor) -> None:
    bare = tiny(ids)
    with pytest.raises(RuntimeError), tiny.patched({"mlp_out.1": lambda out: out * 0}):
        assert not torch.equal(tiny(ids), bare)
        raise RuntimeError
    assert torch.equal(tiny(ids), bare)


@torch.no_grad()
def test_training_mode_is_left(tiny: Model, ids: Tensor) -> None:
    """Dropout would make every effect noise: on opening, in every run, and in every replay."""
    assert not tiny.hf.training
    bare = tiny(ids)
    tiny.hf.train()
    run = tiny.record(ids)
    assert torch.equal(run.logits, bare)
    tiny.blocks[2].train()
    assert torch.equal(run.replay(1, run.resid_pre(1)), bare)


def test_layers_out_of_range(tiny: Model, ids: Tensor) -> None:
    run = tiny.record(ids)
    for asked in (
        lambda: tiny.W_down(3),
        lambda: tiny.W_Q(-1),
        lambda: tiny.norm("mlp_norm", 9),
        lambda: run.replay(4, run.logits),
    ):
        with pytest.raises(ModelError, match="there is no layer"):
            asked()
    for asked in (
        lambda: tiny.weight("W_down.3"),
        lambda: tiny.folded("W_down.1"),
        lambda: tiny.folded("W_U.1"),
    ):
        with pytest.raises(ModelError, match="there is no weight"):
            asked()


@pytest.mark.parametrize(
    ("alias", "ours"),
    [
        ("blocks.2.mlp.hook_post", "mlp_act.2"),
        ("layers_output[0]", "resid_post.0"),
        ("hook_embed", "embed"),
    ],
)
def test_points_answer_to_other_libraries_names(tiny: Model, alias: str, ours: str) -> None:
    assert tiny.place(alias) == tiny.place(ours)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mlp_akt.1", "nearest is 'mlp_act"),
        ("mlp_act.3", "mlp_act.0 … mlp_act.2"),
        ("mlp_act", "expected"),
        ("embed.0", "no layers"),
    ],
)
def test_wrong_points(tiny: Model, name: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        tiny.place(name)


def test_unknown_family_says_what_is_missing(demo: Model) -> None:
    with pytest.raises(
        ModelError, match=r"nearest is gpt2, which lacks .*blocks \(transformer\.h\)"
    ):
        Model(torch.nn.Linear(2, 2), demo.tokenizer, "no model")


def test_layout_can_be_given(demo: Model) -> None:
    mine = replace(LAYOUTS[0], family="mine")
    assert Model(demo.hf, demo.tokenizer, "mine", mine).layout.family == "mine"
    with pytest.raises(ModelError, match="does not hold"):
        Model(demo.hf, demo.tokenizer, "mine", replace(mine, parallel=True))
    with pytest.raises(ModelError, match="no part 'up'"):
        Model(demo.hf, demo.tokenizer, "mine", replace(mine, up="mlp.nowhere"))


@given(
    st.lists(st.integers(1, 400), max_size=60),
    st.integers(1, 2_000),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(0, 9),
)
def test_near_lengths_keep_every_item_once_and_pad_little(
    lengths: list[int], budget: int, most: int | None, spread: int | None
) -> None:
    batches = list(by_near_length(lengths, int, budget, most, spread))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        own = [lengths[i] for i in batch]
        padded = len(own) * max(own)
        assert len(own) == 1 or padded <= budget
        assert sum(own) - max(own) < 128 or padded <= 1.2 * sum(own)
        assert most is None or len(own) <= most
        assert spread is None or max(own) - min(own) <= spread


def test_by_length_keeps_every_item_once() -> None:
    items = ["a", "bb", "cc", "d", "eee", "ff"]
    batches = list(by_length(items, len, budget=4))
    assert sorted(i for batch in batches for i in batch) == list(range(6))
    assert all(len({len(items[i]) for i in batch}) == 1 for batch in batches)
    assert max(len(batch) * len(items[batch[0]]) for batch in batches) <= 4


def test_prompt_longer_than_the_context(tiny: Model) -> None:
    with pytest.raises(ModelError, match="context is 64"):
        tiny.tokenize("a man " * 60)


def test_fingerprint_sees_one_bit_and_not_the_dtype(tiny: Model) -> None:
    tiny.hf.half()
    before = tiny.fingerprint
    tiny.hf.float()
    assert tiny.fingerprint == before
    weight = tiny.weight("W_down.1")
    weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(torch.inf))
    assert tiny.fingerprint != before
