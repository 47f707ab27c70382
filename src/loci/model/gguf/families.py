"""How a GGUF file names and stores the tensors of each architecture, and what configuration it
means.

A new architecture is a new row of `FAMILIES`. Each row is tried by a test that writes a tiny model
of that family as llama.cpp's converter does, opens it, and compares the logits with the untouched
model.

Two conventions are undone on the way. llama.cpp pairs rotary dimensions (0, 1), (2, 3) …,
transformers (0, d/2), (1, d/2 + 1) …: rows of q and k are reordered. Gemma's norms are stored as 1
+ w.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loci.errors import ModelError
from loci.model.gguf.header import Header

Array = np.ndarray
Change = Callable[[Array, Header], Array]

COMMON = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
}
REQUIRED = (
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
)

BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
QK_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
SANDWICH = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
GPT2_BLOCK = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
GPT2_TOP = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}


def unpermuted(weights: Array, heads: int) -> Array:
    """Rows of q or k from llama.cpp's order of rotary pairs to transformers'. [heads·d_head, …]"""
    half = weights.shape[0] // heads // 2
    return weights.reshape(heads, half, 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def _q(weights: Array, header: Header) -> Array:
    return unpermuted(weights, header.of("attention.head_count"))


def _k(weights: Array, header: Header) -> Array:
    # A missing number of key-value heads means: as many as query heads.
    return unpermuted(
        weights, header.of("attention.head_count_kv", header.of("attention.head_count"))
    )


def _less_one(weights: Array, header: Header) -> Array:
    return weights - 1


def _transposed(weights: Array, header: Header) -> Array:
    return weights.T if weights.ndim == 2 else weights  # biases stay


ROTATED: Mapping[str, Change] = {"attn_q": _q, "attn_k": _k}
NORMS = (
    "attn_norm",
    "ffn_norm",
    "post_attention_norm",
    "post_ffw_norm",
    "output_norm",
    "attn_q_norm",
    "attn_k_norm",
)
GEMMA_NORMS: Mapping[str, Change] = dict.fromkeys(NORMS, _less_one)
CONV1D: Mapping[str, Change] = dict.fromkeys(
    ("attn_qkv", "attn_output", "ffn_up", "ffn_down"), _transposed
)


@dataclass(frozen=True)
class Family:
    """One architecture: its model type in transformers, names of parts, changes of values,
    settings.
    """

    model_type: str
    block: Mapping[str, str] = field(default_factory=lambda: BLOCK)
    top: Mapping[str, str] = field(default_factory=lambda: TOP)
    blocks: str = "model.layers"
    changes: Mapping[str, Change] = field(default_factory=dict)
    """By GGUF name of the part."""
    keys: Mapping[str, str] = field(default_factory=lambda: COMMON)
    extra: Mapping[str, str] = field(default_factory=dict)
    """More metadata keys → configuration fields."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Configuration that the architecture implies."""
    rotary: bool = True

    def name(self, tensor: str) -> str | None:
        """The transformers name of a GGUF tensor; None for what is no weight (rotary factors)."""
        stem, _, kind = tensor.rpartition(".")
        if stem.startswith("blk."):
            _, layer, part = stem.split(".", 2)
            return (
                f"{self.blocks}.{layer}.{self.block[part]}.{kind}" if part in self.block else None
            )
        return f"{self.top[stem]}.{kind}" if stem in self.top else None

    def changed(self, tensor: str, weights: Array, header: Header) -> Array:
        """The values as transformers stores them."""
        part = tensor.rpartition(".")[0].rpartition(".")[2]
        return self.changes[part](weights, header) if part in self.changes else weights

    def config(self, header: Header) -> dict[str, Any]:
        """The configuration that the metadata state, without rotary scaling and vocabulary."""
        missing = [key for key in REQUIRED if header.of(key) is None]
        if missing:
            raise ModelError(f"{header.path}: its metadata lack {header.architecture}.{missing[0]}")
        named = {**self.keys, **self.extra}
        values = {name: header.of(key) for key, name in named.items() if header.of(key) is not None}
        if "num_key_value_heads" in named.values():
            values.setdefault("num_key_value_heads", values["num_attention_heads"])
        return {**values, **self.fixed, "model_type": self.model_type}


WINDOW = {"attention.sliding_window": "sliding_window"}
GELU = {"hidden_activation": "gelu_pytorch_tanh"}
CAPS = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
GPT2_KEYS = {
    "context_length": "n_positions",
    "embedding_length": "n_embd",
    "block_count": "n_layer",
    "feed_forward_length": "n_inner",
    "attention.head_count": "n_head",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
}

FAMILIES: dict[str, Family] = {
    "llama": Family("llama", changes=ROTATED, fixed={"attention_bias": False}),
    "qwen2": Family("qwen2"),
    "qwen3": Family("qwen3", block={**BLOCK, **QK_NORMS}),
    "gemma": Family("gemma", changes=GEMMA_NORMS, fixed=GELU),
    "gemma2": Family(
        "gemma2",
        block={**BLOCK, **SANDWICH},
        changes=GEMMA_NORMS,
        extra={**WINDOW, **CAPS},
        fixed=GELU,
    ),
    "gemma3": Family(
        "gemma3_text",
        block={**BLOCK, **SANDWICH, **QK_NORMS},
        changes=GEMMA_NORMS,
        extra=WINDOW,
        fixed=GELU,
    ),
    "gpt2": Family(
        "gpt2",
        block=GPT2_BLOCK,
        top=GPT2_TOP,
        blocks="transformer.h",
        changes=CONV1D,
        keys=GPT2_KEYS,
        rotary=False,
    ),
}


def family_of(header: Header) -> Family:
    """The row for a file. Raises `ModelError` for what is no language model, or of another
    architecture.
    """
    known = ", ".join(FAMILIES)
    if header.kind == "adapter":
        raise ModelError(
            f"{header.path}: is a LoRA adapter, not a model: open the model that it was made for"
        )
    if header.kind in ("mmproj", "clip-vision") or header.architecture in ("clip", "mmproj"):
        raise ModelError(
            f"{header.path}: is a vision projector, not a language model: open the other file of"
            " that model"
        )
    if not header.architecture:
        raise ModelError(f"{header.path}: its metadata lack general.architecture")
    if header.architecture not in FAMILIES:
        raise ModelError(
            f"{header.path}: the architecture {header.architecture!r} cannot be opened from GGUF"
            f" ({known} can): open the original checkpoint, a folder with safetensors"
        )
    return FAMILIES[header.architecture]


def architecture_of(model_type: str) -> str:
    """The GGUF architecture of a model type of transformers. Raises `ModelError` where there is
    none here.
    """
    if model_type == "mistral":
        return "llama"
    for architecture, family in FAMILIES.items():
        if family.model_type == model_type:
            return architecture
    raise ModelError(
        f"models of type {model_type!r} have no GGUF names here ({', '.join(FAMILIES)} have)"
    )


def gguf_name(architecture: str, parameter: str) -> str:
    """The GGUF name of a parameter of a block: model.layers.3.mlp.down_proj.weight →
    blk.3.ffn_down.weight.
    """
    family = FAMILIES[architecture]
    inner, _, kind = parameter.removeprefix(f"{family.blocks}.").rpartition(".")
    layer, _, part = inner.partition(".")
    names = {there: here for here, there in family.block.items()}
    if not layer.isdecimal() or part not in names:
        raise ModelError(f"{parameter} has no GGUF name in {architecture}")
    return f"blk.{layer}.{names[part]}.{kind}"
