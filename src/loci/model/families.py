"""The families: one row each, where the parts of its decoder are."""

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from loci.errors import ModelError
from loci.model.layouts import PARTS, Layout, missing_parts

GPT2 = Layout(
    family="gpt2",
    models="GPT-2",
    blocks="transformer.h",
    embed="transformer.wte",
    final_norm="transformer.ln_f",
    attn="attn",
    attn_norm="ln_1",
    q="attn.c_attn",
    k="attn.c_attn",
    v="attn.c_attn",
    o="attn.c_proj",
    mlp="mlp",
    mlp_norm="ln_2",
    up="mlp.c_fc",
    down="mlp.c_proj",
)

LLAMA = Layout(
    family="llama",
    models="Llama 1–3, Mistral, Qwen2, Qwen3, Gemma, OLMo, StableLM",
    blocks="model.layers",
    embed="model.embed_tokens",
    final_norm="model.norm",
    attn="self_attn",
    attn_norm="input_layernorm",
    q="self_attn.q_proj",
    k="self_attn.k_proj",
    v="self_attn.v_proj",
    o="self_attn.o_proj",
    mlp="mlp",
    mlp_norm="post_attention_layernorm",
    up="mlp.up_proj",
    gate="mlp.gate_proj",
    down="mlp.down_proj",
)

GEMMA2 = replace(
    LLAMA,
    family="gemma2",
    models="Gemma 2, Gemma 3",
    attn_post="post_attention_layernorm",
    mlp_norm="pre_feedforward_layernorm",
    mlp_post="post_feedforward_layernorm",
)

NEOX = Layout(
    family="neox",
    models="GPT-NeoX, Pythia",
    blocks="gpt_neox.layers",
    embed="gpt_neox.embed_in",
    final_norm="gpt_neox.final_layer_norm",
    attn="attention",
    attn_norm="input_layernorm",
    q="attention.query_key_value",
    k="attention.query_key_value",
    v="attention.query_key_value",
    o="attention.dense",
    mlp="mlp",
    mlp_norm="post_attention_layernorm",
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
    parallel=True,
    grouped=True,
)

BLOOM = Layout(
    family="bloom",
    models="BLOOM, Falcon-RW",
    blocks="transformer.h",
    embed="transformer.word_embeddings",
    final_norm="transformer.ln_f",
    attn="self_attention",
    attn_norm="input_layernorm",
    q="self_attention.query_key_value",
    k="self_attention.query_key_value",
    v="self_attention.query_key_value",
    o="self_attention.dense",
    mlp="mlp",
    mlp_norm="post_attention_layernorm",
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
    grouped=True,
)

FALCON = replace(BLOOM, family="falcon", models="Falcon-7B, Falcon2-11B", adds_in_place=True)

LAYOUTS = (
    GPT2,
    replace(
        GPT2,
        family="gpt-neo",
        models="GPT-Neo",
        q="attn.attention.q_proj",
        k="attn.attention.k_proj",
        v="attn.attention.v_proj",
        o="attn.attention.out_proj",
    ),
    replace(
        GPT2,
        family="gpt-j",
        models="GPT-J",
        q="attn.q_proj",
        k="attn.k_proj",
        v="attn.v_proj",
        o="attn.out_proj",
        mlp_norm="ln_1",
        up="mlp.fc_in",
        down="mlp.fc_out",
        parallel=True,
    ),
    NEOX,
    replace(
        NEOX, family="neox-sequential", models="GPT-NeoX without parallel residual", parallel=False
    ),
    Layout(
        family="opt",
        models="OPT, but 350m",
        blocks="model.decoder.layers",
        embed="model.decoder.embed_tokens",
        final_norm="model.decoder.final_layer_norm",
        attn="self_attn",
        attn_norm="self_attn_layer_norm",
        q="self_attn.q_proj",
        k="self_attn.k_proj",
        v="self_attn.v_proj",
        o="self_attn.out_proj",
        mlp_norm="final_layer_norm",
        up="fc1",
        down="fc2",
        flat=("mlp_norm", "up", "down"),
    ),
    replace(
        FALCON,
        family="falcon-two-norms",
        models="Falcon-40B, Falcon-180B",
        attn_norm="ln_attn",
        mlp_norm="ln_mlp",
        parallel=True,
    ),
    BLOOM,
    replace(FALCON, mlp_norm="input_layernorm", parallel=True),
    LLAMA,
    GEMMA2,
    replace(
        GEMMA2,
        family="gemma3-multimodal",
        models="Gemma 3 with vision: its text model",
        blocks="model.language_model.layers",
        embed="model.language_model.embed_tokens",
        final_norm="model.language_model.norm",
    ),
    replace(GEMMA2, family="olmo2", models="OLMo 2", attn_norm="", mlp_norm=""),
    replace(LLAMA, family="vaultgemma", models="VaultGemma", mlp_norm="pre_feedforward_layernorm"),
    replace(
        LLAMA,
        family="llama-parallel",
        models="StableLM with parallel residual",
        mlp_norm="input_layernorm",
        parallel=True,
    ),
    replace(
        LLAMA,
        family="phi",
        models="Phi-1, Phi-1.5, Phi-2",
        final_norm="model.final_layernorm",
        o="self_attn.dense",
        mlp_norm="input_layernorm",
        up="mlp.fc1",
        gate="",
        down="mlp.fc2",
        parallel=True,
    ),
    replace(
        LLAMA,
        family="phi3",
        models="Phi-3 mini and medium, Phi-4",
        q="self_attn.qkv_proj",
        k="self_attn.qkv_proj",
        v="self_attn.qkv_proj",
        up="mlp.gate_up_proj",
        gate="mlp.gate_up_proj",
    ),
    replace(
        LLAMA,
        family="mixtral",
        models="Mixtral, Qwen3-MoE",
        up="",
        gate="",
        down="",
        router="mlp.gate",
        experts="mlp.experts",
        flat=("router",),
    ),
)


def candidates(hf: nn.Module, layouts: Sequence[Layout] = LAYOUTS) -> list[Layout]:
    """The rows of the table whose parts are all there, the one with most parts first.

    Raises `ModelError` with what the nearest row finds and lacks.
    """
    lacking = {layout: missing_parts(hf, layout) for layout in layouts}
    fitting = [layout for layout in layouts if not lacking[layout]]
    if fitting:
        return sorted(
            fitting, key=lambda layout: -sum(bool(getattr(layout, name)) for name in PARTS)
        )
    found_in = {
        layout: [name for name in PARTS if getattr(layout, name) and name not in lacking[layout]]
        for layout in layouts
    }
    nearest = max(layouts, key=lambda layout: len(found_in[layout]))
    raise ModelError(
        f"{type(hf).__name__}: no known layout fits; nearest is {nearest.family}, which lacks"
        f" {', '.join(f'{name} ({getattr(nearest, name)})' for name in lacking[nearest])} and has"
        f" {', '.join(found_in[nearest]) or 'nothing'} (known:"
        f" {', '.join(layout.family for layout in layouts)}). Pass layout=loci.Layout(...) to say"
        f" where its parts are; what opens without: {openable()}"
    )


def openable() -> str:
    """The models of the table, for people."""
    return ", ".join(dict.fromkeys(layout.models for layout in LAYOUTS))
