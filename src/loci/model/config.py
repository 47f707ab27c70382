"""A checkpoint's configuration before transformers sees it: an object whose sizes are sizes.

transformers checks the types of a field where its family declares them; it builds ten thousand
million layers if that is what the file says. Here the sizes that every decoder has are held to what
a decoder can have, under all the names that families give them.
"""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from loci.errors import ModelError
from loci.model.stored import Stored, same_parameter
from loci.validate import DOCUMENT, brief, named, read_json

CONFIG = "config.json"
OBJECTS = (
    CONFIG,
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""Files of a checkpoint that hold one JSON object, where they are there."""
LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
SIZES: dict[str, tuple[int, int]] = {
    **dict.fromkeys(LAYERS, (0, 1_000)),
    **dict.fromkeys((*HEADS, *KV_HEADS), (1, 100_000)),
    **dict.fromkeys(
        ("hidden_size", "n_embd", "d_model", "head_dim", "word_embed_proj_dim"), (1, 10**6)
    ),
    **dict.fromkeys(
        ("intermediate_size", "n_inner", "ffn_dim", "d_ff", "ffn_hidden_size"), (1, 10**7)
    ),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), (1, 10**8)),
    **dict.fromkeys(
        ("num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok", "moe_topk"),
        (0, 100_000),
    ),
    "vocab_size": (1, 10**8),
}
"""Least and most. Layers may be none: a model of embeddings alone."""
OPTIONAL = {
    *KV_HEADS,
    "head_dim",
    "n_inner",
    "intermediate_size",
    "ffn_hidden_size",
    "max_seq_len",
    "word_embed_proj_dim",
}
OPTIONAL |= {
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "num_experts_per_tok",
    "moe_topk",
}
"""Fields where null says: as the family has it."""
BY_LAYER = {"intermediate_size", "num_key_value_heads", "head_dim"}
"""Fields that may be a list, a number for each layer."""
TOKENS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "unk_token_id",
    "sep_token_id",
    "decoder_start_token_id",
)
EPSILONS = ("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps", "norm_eps", "norm_epsilon")
ROTARY = ("rope_theta", "rope_local_base_freq", "rotary_emb_base", "factor")
BLOCK = re.compile(r"^(.*?(?:^|\.)(?:h|layers|blocks|block))\.(\d+)\.")


def check_config_files(folder: Path) -> dict[str, Any]:
    """The configuration in a folder. Raises `ModelError` where it, or another object beside it,
    cannot be what it has to be.
    """
    config: dict[str, Any] = {}
    for name in OBJECTS:
        path = folder / name
        if name != CONFIG and not path.is_symlink() and not path.exists():
            continue
        document = read_json(path, ModelError, DOCUMENT, infinite=True)
        if not isinstance(document, dict):
            raise ModelError(f"{named(path)}: expected an object, found {brief(document)}")
        if name == CONFIG:
            check_config_document(document, named(path))
            config = document
        elif name == "generation_config.json":
            for field in TOKENS:
                _check_tokens(document.get(field) or None, named(path), field)
        elif name == "tokenizer_config.json":
            most = document.get("model_max_length")
            fine = most is None or _number(most)
            _expect(fine, named(path), "model_max_length", "a number", most)
    return config


def check_config_document(document: Mapping[str, Any], where: str) -> None:
    """Raise `ModelError` for a field that no decoder can have. Fields that are not known here are
    left to transformers.
    """
    kind = document.get("model_type")
    if kind is None and not isinstance(document.get("auto_map"), dict):
        raise ModelError(f"{where}: model_type is missing")
    if kind is not None:
        _expect(isinstance(kind, str) and kind.isprintable(), where, "model_type", "text", kind)
    names = document.get("architectures")
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    _expect(names is None or listed, where, "architectures", "a list of names", names)
    _check_fields(document, where)
    inner = document.get("text_config")
    if inner is not None:
        _expect(isinstance(inner, dict), where, "text_config", "an object", inner)
        _check_fields(inner, f"{where}: text_config")


def _check_fields(document: Mapping[str, Any], where: str) -> None:
    for name, (least, most) in SIZES.items():
        if name in document:
            _check_size(document[name], least, most, where, name)
    for name in TOKENS:
        _check_tokens(document.get(name), where, name)
    for name in EPSILONS:
        value = document.get(name, 1e-6)
        fine = _number(value) and 0 <= value <= 1
        _expect(fine, where, name, "a number between 0 and 1", value)
    for name in ("dtype", "torch_dtype"):
        _check_dtype(document.get(name), where, name)
    for name in ("quantization_config", "rope_scaling", "rope_parameters", "id2label", "label2id"):
        value = document.get(name)
        _expect(value is None or isinstance(value, dict), where, name, "an object", value)
    _check_rotary(document, where)
    for name in ("hidden_act", "activation_function", "hidden_activation"):
        _check_activation(document.get(name), where, name)
    _check_heads(document, where)


def _check_size(value: Any, least: int, most: int, where: str, name: str) -> None:
    if value is None and name in OPTIONAL:
        return
    values = value if isinstance(value, list) and value and name in BY_LAYER else [value]
    for size in values:
        whole = isinstance(size, int) and not isinstance(size, bool)
        _expect(
            whole and least <= size <= most,
            where,
            name,
            f"an integer between {least:,} and {most:,}",
            size,
        )


def _check_tokens(value: Any, where: str, name: str) -> None:
    """−1 is how some checkpoints say that there is none."""
    for token in value if isinstance(value, list) and value else [value]:
        whole = isinstance(token, int) and not isinstance(token, bool) and -1 <= token < 10**8
        _expect(
            token is None or whole, where, name, "the number of a token, or a list of them", token
        )


def _check_rotary(document: Mapping[str, Any], where: str) -> None:
    """Bases and factors of rotary positions are positive. They stand in the configuration itself,
    in an object, or in one for each kind of layer.
    """
    for name, value in document.items():
        if name in ("rope_scaling", "rope_parameters") and isinstance(value, dict):
            for part in (value, *value.values()):
                if isinstance(part, dict):
                    _check_rotary(part, f"{where}: {name}")
        elif name in ROTARY:
            fine = value is None or (_number(value) and value > 0)
            _expect(fine, where, name, "a positive number", value)


def _check_dtype(value: Any, where: str, name: str) -> None:
    if isinstance(value, str) and value != "auto":
        dtype = getattr(torch, value.removeprefix("torch."), None)
        fine = isinstance(dtype, torch.dtype) and dtype.is_floating_point
        _expect(fine, where, name, "a floating-point dtype of torch", value)
    else:
        _expect(
            value is None or isinstance(value, (str, dict)),
            where,
            name,
            "the name of a dtype",
            value,
        )


def _check_activation(value: Any, where: str, name: str) -> None:
    from transformers.activations import ACT2FN

    if value is not None:
        _expect(
            isinstance(value, str) and value in ACT2FN,
            where,
            name,
            "a function that transformers knows",
            value,
        )


def _check_heads(document: Mapping[str, Any], where: str) -> None:
    """Heads of keys and values are shared by equally many heads each."""
    heads = next((document[name] for name in HEADS if name in document), None)
    for name in KV_HEADS:
        shared = document.get(name)
        if isinstance(heads, int) and isinstance(shared, int):
            _expect(heads % shared == 0, where, name, f"a divisor of the {heads} heads", shared)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _expect(fine: bool, where: str, name: str, what: str, value: Any) -> None:
    if not fine:
        raise ModelError(f"{where}: {name}: expected {what}, found {brief(value)}")


def check_depth(config: Any, stored: Stored, where: str) -> None:
    """Raise `ModelError` where the configuration asks for more layers than the files hold, before
    any is built.
    """
    stated = next(
        (value for name in LAYERS if isinstance(value := getattr(config, name, None), int)), None
    )
    held = blocks_in(stored.tensors)
    if stated is not None and held and stated > max(held.values()):
        raise ModelError(
            f"{where}: {CONFIG} says {stated} layers, and the weights hold {max(held.values())}"
        )


def check_windows(config: Any, where: str) -> None:
    """Raise `ModelError` where layers look back through a window that has no width: only a run with
    a cache would fall over it.
    """
    inner = config.get_text_config()
    slides = "sliding_attention" in (getattr(inner, "layer_types", None) or ())
    if slides and getattr(inner, "sliding_window", None) is None:
        raise ModelError(
            f"{where}: {CONFIG}: layer_types names sliding_attention, and sliding_window is missing"
        )


def check_nothing_left(unexpected: Iterable[str], hf: nn.Module, where: str) -> None:
    """Raise `ModelError` where the files hold more layers than the configuration says: a model cut
    short without a word.
    """
    here = blocks_in(name for name, _ in hf.named_parameters())
    for stack, count in blocks_in(unexpected).items():
        depth = max((n for other, n in here.items() if same_parameter(other, stack)), default=0)
        if count > depth and (depth or not here):
            raise ModelError(f"{where}: {CONFIG} says {depth} layers, and the weights hold {count}")


def blocks_in(names: Iterable[str]) -> dict[str, int]:
    """How many blocks each stack of blocks has, by the names of tensors."""
    counts: dict[str, int] = {}
    for name in names:
        if match := BLOCK.match(name):
            counts[match[1]] = max(counts.get(match[1], 0), int(match[2]) + 1)
    return counts


def misfit(hf: nn.Module, stored: Stored) -> str | None:
    """The first parameter whose shape by the configuration is not that in the files, in words."""
    for name, parameter in hf.named_parameters():
        tensor = next(
            (t for stored_name, t in stored.tensors.items() if same_parameter(stored_name, name)),
            None,
        )
        if tensor is not None and tensor.shape != tuple(parameter.shape):
            return (
                f"{name} is {list(tensor.shape)} in the weights and {list(parameter.shape)} by"
                f" {CONFIG}"
            )
    return None
