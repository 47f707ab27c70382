"""Tiny random configurations of every family: those in the table hold all invariants, the others are refused with a reason."""

import pytest
import torch
import transformers as t
from torch import Tensor

from loci.editing import edit
from loci.errors import ModelError
from loci.facts import Fact
from loci.locating import neurons, trace
from loci.model import Model
from loci.reading import norm_gain, read

SIZE = {"vocab_size": 4096, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
GROUPED = {**SIZE, "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
NEO = {"vocab_size": 4096, "hidden_size": 32, "num_layers": 4, "num_heads": 4, "max_position_embeddings": 64, "window_size": 4}

SUPPORTED = {
    "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED)),
    "llama-biased": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED, mlp_bias=True, attention_bias=True)),
    "mistral": lambda: t.MistralForCausalLM(t.MistralConfig(**GROUPED, sliding_window=4)),
    "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**GROUPED)),
    "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**GROUPED, head_dim=16)),
    "olmo": lambda: t.OlmoForCausalLM(t.OlmoConfig(**GROUPED)),
    "gemma": lambda: t.GemmaForCausalLM(t.GemmaConfig(**GROUPED, head_dim=16)),
    "gpt-neo": lambda: t.GPTNeoForCausalLM(
        t.GPTNeoConfig(**NEO, attention_types=[[["global", "local"], 2]], bos_token_id=0, eos_token_id=0)
    ),
    "gpt2": lambda: t.GPT2LMHeadModel(
        t.GPT2Config(vocab_size=4096, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=0)
    ),
}
REFUSED = {
    "gemma2": (lambda: t.Gemma2ForCausalLM(t.Gemma2Config(**GROUPED, head_dim=16)), "not supported yet"),
    "olmo2": (lambda: t.Olmo2ForCausalLM(t.Olmo2Config(**GROUPED)), "not supported yet"),
    "neox": (lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**SIZE)), "no known layout"),
    "gpt-j": (lambda: t.GPTJForCausalLM(t.GPTJConfig(vocab_size=4096, n_embd=32, n_layer=2, n_head=4, rotary_dim=4)), "lacks mlp_norm"),
    "phi3": (lambda: t.Phi3ForCausalLM(t.Phi3Config(**GROUPED)), "lacks up"),
    "opt": (lambda: t.OPTForCausalLM(t.OPTConfig(vocab_size=4096, hidden_size=32, num_hidden_layers=2, ffn_dim=48, num_attention_heads=4, word_embed_proj_dim=32)), "no known layout"),
    "mixtral": (lambda: t.MixtralForCausalLM(t.MixtralConfig(**GROUPED, num_local_experts=2)), "lacks"),
}  # fmt: skip


@pytest.fixture(params=SUPPORTED)
def family(request: pytest.FixtureRequest, demo: Model) -> Model:
    torch.manual_seed(0)
    hf = SUPPORTED[request.param]()
    with torch.no_grad():
        for parameter in hf.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Model(hf, demo.tokenizer, request.param)


@torch.no_grad()
def test_invariants(family: Model, ids: Tensor) -> None:
    bare = family.hf(input_ids=ids, use_cache=False).logits
    assert torch.equal(family(ids), bare)
    for layer in range(family.n_layers):
        for point in ("resid_pre", "attn_out", "resid_mid", "mlp_in", "mlp_pre", "mlp_act", "mlp_out", "resid_post"):
            with family.patched({f"{point}.{layer}": lambda x: x}):
                assert torch.equal(family(ids), bare), point
        with family.watch(
            *(f"{p}.{layer}" for p in ("resid_pre", "attn_out", "mlp_in", "mlp_pre", "mlp_act", "mlp_out", "resid_post"))
        ) as at:
            family(ids)
        total = at[f"resid_pre.{layer}"] + at[f"attn_out.{layer}"] + at[f"mlp_out.{layer}"]
        torch.testing.assert_close(total, at[f"resid_post.{layer}"], atol=1e-5, rtol=1e-5)
        pre = at[f"mlp_in.{layer}"] @ family.W_key(layer).T + family.b_key(layer)
        torch.testing.assert_close(pre, at[f"mlp_pre.{layer}"], atol=1e-5, rtol=1e-5)
        bias = getattr(family.module("down", layer), "bias", None)
        out = at[f"mlp_act.{layer}"] @ family.W_down(layer).T + (0 if bias is None else bias)
        torch.testing.assert_close(out, at[f"mlp_out.{layer}"], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_replay_in_any_batch_size(family: Model, ids: Tensor) -> None:
    """Masks, rotary embeddings and sliding windows come along, from one row or from several."""
    for rows in (1, 2):
        run = family.record(ids[:rows])
        for layer in range(family.n_layers):
            torch.testing.assert_close(run.replay(layer, run.resid_pre(layer)), run.logits, atol=1e-5, rtol=1e-5)
            more = run.replay(layer, run.resid_pre(layer).repeat(3, 1, 1))
            torch.testing.assert_close(more, run.logits.repeat(3, 1, 1), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_final_norm_in_parts(family: Model) -> None:
    """Whatever way a family keeps its gain: gain, centring and bias make up the norm on random vectors."""
    gain, centres = norm_gain(family)
    norm = family.module("final_norm")
    assert centres == (family.name in ("olmo", "gpt-neo", "gpt2"))
    x = torch.randn(5, family.d_model)
    z = x - x.mean(-1, keepdim=True) if centres else x
    expected = gain * z / z.square().mean(-1, keepdim=True).sqrt() + norm(torch.zeros(family.d_model))
    torch.testing.assert_close(norm(x), expected, atol=1e-3, rtol=1e-3)


def test_the_rooms_above_work(family: Model) -> None:
    fact = Fact("Michael Jordan", "{} plays the sport of", "golf")
    traced = trace(family, fact, samples=2)
    cells = neurons(family, fact, samples=2, steps=32)
    torch.testing.assert_close(cells.expected, traced.grids["mlp"][:, cells.token], atol=1e-6, rtol=1e-3)
    card = read(family, "L1N3", ["Michael Jordan plays the sport of basketball.", "The king slept."], top=2)
    assert len(card.promotes) == 2
    before = family.fingerprint
    patch = edit(family, [fact.to("chess")], covariance=torch.eye(family.d_mlp))
    with patch.applied(family):
        assert family.fingerprint != before
    assert family.fingerprint == before


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_add_up_is_refused(name: str, demo: Model) -> None:
    make, says = REFUSED[name]
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=says):
        Model(make(), demo.tokenizer, name)
