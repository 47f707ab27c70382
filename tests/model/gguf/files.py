"""Tiny GGUF files, written as llama.cpp's converter writes them, by the names of the `gguf`
package.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from loci.model import Model

SIZES: dict[str, Any] = {
    "vocab_size": 4096,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
ARCHITECTURES = {
    "llama": ("llama", gguf.MODEL_ARCH.LLAMA),
    "qwen2": ("qwen2", gguf.MODEL_ARCH.QWEN2),
    "qwen3": ("qwen3", gguf.MODEL_ARCH.QWEN3),
    "gemma": ("gemma", gguf.MODEL_ARCH.GEMMA),
    "gemma2": ("gemma2", gguf.MODEL_ARCH.GEMMA2),
    "gemma3": ("gemma3_text", gguf.MODEL_ARCH.GEMMA3),
    "gpt2": ("gpt2", gguf.MODEL_ARCH.GPT2),
}
GPT2_SIZES = {
    "n_embd": 64,
    "n_inner": 96,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 128,
    "initializer_range": 0.2,
}
HEAD_DIM = 16


def tiny(architecture: str, vocabulary: int, **more: Any) -> PreTrainedModel:
    """A random model in which no two parts are alike: norms and biases are drawn too."""
    torch.manual_seed(0)
    model_type = ARCHITECTURES[architecture][0]
    sizes = GPT2_SIZES if architecture == "gpt2" else SIZES
    head = {} if architecture in ("gpt2", "qwen2") else {"head_dim": HEAD_DIM}
    if architecture in ("gemma2", "gemma3"):
        head |= {"query_pre_attn_scalar": HEAD_DIM, "num_hidden_layers": 7, "sliding_window": 8}
    config = CONFIG_MAPPING[model_type](**{**sizes, **head, "vocab_size": vocabulary, **more})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim == 1:
                value.add_(0.1 * torch.randn_like(value))
    return model


def write(
    path: Path,
    model: PreTrainedModel,
    architecture: str,
    demo: Model,
    *,
    metadata: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
    without: tuple[str, ...] = (),
    dtype: gguf.GGMLQuantizationType | None = None,
) -> Path:
    """The file of a model with the embedded model's tokenizer; `metadata` and `tensors` are added,
    keys in `without` left out.
    """
    writer = gguf.GGUFWriter(path, architecture)
    config = model.config
    heads = config.num_attention_heads
    stated: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": 96,
        "attention.head_count": heads,
    }
    if architecture == "gpt2":
        stated["attention.layer_norm_epsilon"] = config.layer_norm_epsilon
    else:
        stated["attention.head_count_kv"] = config.num_key_value_heads
        stated["attention.layer_norm_rms_epsilon"] = config.rms_norm_eps
        stated["rope.freq_base"] = base(config)
        if architecture != "qwen2":
            stated["attention.key_length"] = HEAD_DIM
    if getattr(config, "sliding_window", None):
        stated["attention.sliding_window"] = config.sliding_window
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        if getattr(config, name, None):
            stated[name] = getattr(config, name)
    for key, value in {**stated, **(metadata or {})}.items():
        if key not in without:
            add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[
                type(value)
            ]
            add(f"{architecture}.{key}", value)
    if architecture.startswith("gemma"):
        add_sentencepiece(writer, config.vocab_size)
    else:
        add_tokenizer(writer, demo, config.vocab_size)
    names = gguf.get_tensor_name_map(ARCHITECTURES[architecture][1], config.num_hidden_layers)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stem, _, kind = name.rpartition(".")
        new = names.get_name(stem)
        assert new is not None, name
        data = stored(
            value.numpy(), new, architecture, heads, getattr(config, "num_key_value_heads", heads)
        )
        if dtype is not None and data.ndim == 2 and data.shape[-1] % 32 == 0:
            writer.add_tensor(f"{new}.{kind}", gguf.quantize(data, dtype), raw_dtype=dtype)
        else:
            writer.add_tensor(f"{new}.{kind}", data)
    for name, data in (tensors or {}).items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def base(config: Any) -> float:
    rope = config.rope_parameters
    return float(
        rope["full_attention"]["rope_theta"] if "full_attention" in rope else rope["rope_theta"]
    )


def stored(
    value: np.ndarray, name: str, architecture: str, heads: int, kv_heads: int
) -> np.ndarray:
    """What llama.cpp's converter makes of a tensor."""
    part = name.rpartition(".")[2]
    if architecture == "llama" and part in ("attn_q", "attn_k"):
        n = heads if part == "attn_q" else kv_heads
        value = (
            value.reshape(n, 2, value.shape[0] // n // 2, *value.shape[1:])
            .swapaxes(1, 2)
            .reshape(value.shape)
        )
    if architecture.startswith("gemma") and part.endswith("norm"):
        value = value + 1
    if (
        architecture == "gpt2"
        and part in ("attn_qkv", "attn_output", "ffn_up", "ffn_down")
        and value.ndim == 2
    ):
        value = value.T
    return np.ascontiguousarray(value, dtype=np.float32)


def add_sentencepiece(writer: gguf.GGUFWriter, size: int) -> None:
    """Special tokens, bytes, letters and a few words, as Gemma's file lists them:
    without merges.
    """
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    raw = [f"<0x{byte:02X}>" for byte in range(256)]
    letters = ["▁", *map(chr, range(33, 127)), "Mi", "ch", "Mich", "▁J", "or", "▁p", "la"]
    words = [*special, *raw, *letters]
    words += [f"[UNUSED{i}]" for i in range(len(words), size)]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_scores([-float(i) for i in range(len(words))])
    writer.add_token_types([3] * 5 + [6] * 256 + [1] * (len(words) - 261))
    for add, identity in (
        (writer.add_pad_token_id, 0),
        (writer.add_eos_token_id, 1),
        (writer.add_bos_token_id, 2),
        (writer.add_unk_token_id, 3),
    ):
        add(identity)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def add_tokenizer(writer: gguf.GGUFWriter, demo: Model, size: int) -> None:
    """The embedded model's byte-level vocabulary and merges."""
    import json

    state = json.loads(demo.tokenizer.backend_tokenizer.to_str())["model"]
    words = sorted(state["vocab"], key=state["vocab"].get)
    words += [f"[PAD{i}]" for i in range(len(words), size)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in state["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([3 if i == 0 else 1 for i in range(len(words))])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(True)
