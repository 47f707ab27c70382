"""Weights that are no plain numbers: each kind refused in one line, by its configuration or by its
files; tiny checkpoints made by hand.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from loci.errors import ModelError
from loci.model import Model, census, open_empty, open_model, open_weights

Tensors = dict[str, torch.Tensor]
OPENERS = (open_model, lambda path: open_model(path, dtype="auto"), open_weights)


@pytest.fixture
def llama(tmp_path: Path, demo: Model) -> Path:
    """Hidden 128, intermediate 256, 2 layers."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=demo.d_vocab, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64, bos_token_id=0, eos_token_id=0, dtype="bfloat16",
    )  # fmt: skip
    LlamaForCausalLM(config).bfloat16().save_pretrained(tmp_path / "llama")
    demo.tokenizer.save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def rewrite(
    folder: Path,
    change: Callable[[str, torch.Tensor], Tensors],
    config: dict[str, object] | None = None,
) -> None:
    """Each `*_proj.weight` as `change` stores it; and what the configuration says besides."""
    path = folder / "model.safetensors"
    made: Tensors = {}
    for name, tensor in load_file(path).items():
        made |= change(name, tensor) if name.endswith("_proj.weight") else {name: tensor}
    save_file(made, path, metadata={"format": "pt"})
    plain = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(plain | (config or {})))


def fp8(name: str, tensor: torch.Tensor) -> Tensors:
    """DeepSeek's form: blocks of 128 × 128, each with the inverse of its scale."""
    blocks = tensor.float().unflatten(0, (-1, 128)).unflatten(2, (-1, 128))
    scale = blocks.abs().amax((1, 3), keepdim=True) / 448
    return {
        name: (blocks / scale).flatten(2, 3).flatten(0, 1).to(torch.float8_e4m3fn),
        name + "_scale_inv": scale[:, 0, :, 0].contiguous(),
    }


def whole(dtype: torch.dtype) -> Callable[[str, torch.Tensor], Tensors]:
    return lambda name, tensor: {name: (tensor.float() * 100).to(dtype)}


def stem(name: str) -> str:
    return name.removesuffix(".weight")


FORMS: dict[str, tuple[Callable[[str, torch.Tensor], Tensors], dict[str, object], str]] = {
    "fp8": (fp8, {"quant_method": "fp8", "weight_block_size": [128, 128]}, "FP8 with scales"),
    "bitsandbytes 4 bit": (
        lambda name, t: {
            name: torch.zeros(t.numel() // 2, 1, dtype=torch.uint8),
            name + ".absmax": torch.ones(t.numel() // 64),
        },
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "bitsandbytes, 4 bit",
    ),
    "bitsandbytes 8 bit": (
        lambda name, t: {
            name: (t.float() * 100).to(torch.int8),
            stem(name) + ".SCB": torch.ones(len(t)),
        },
        {"quant_method": "bitsandbytes", "load_in_8bit": True},
        "bitsandbytes, 8 bit",
    ),
    "GPTQ": (
        lambda name, t: {
            stem(name) + ".qweight": torch.zeros(t.shape[1] // 8, t.shape[0], dtype=torch.int32)
        },
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        "GPTQ, 4 bit",
    ),
    "AWQ": (
        lambda name, t: {
            stem(name) + ".qweight": torch.zeros(t.shape[1], t.shape[0] // 8, dtype=torch.int32)
        },
        {"quant_method": "awq", "bits": 4, "group_size": 128},
        "AWQ, 4 bit",
    ),
    "compressed-tensors": (
        lambda name, t: {
            stem(name) + ".weight_packed": torch.zeros(
                t.shape[0], t.shape[1] // 8, dtype=torch.int32
            )
        },
        {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {}},
        "compressed-tensors",
    ),
    "MXFP4": (
        lambda name, t: {
            stem(name) + "_blocks": torch.zeros(len(t), t.shape[1] // 32, 16, dtype=torch.uint8)
        },
        {"quant_method": "mxfp4"},
        "MXFP4",
    ),
    "torchao": (
        whole(torch.int8),
        {"quant_method": "torchao", "quant_type": {"default": "int8_weight_only"}},
        "torchao",
    ),
    "an object that says nothing": (whole(torch.int8), {}, "method not named"),
    "a method to come": (whole(torch.int8), {"quant_method": "tomorrow"}, "tomorrow"),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_the_configuration_says_is_quantised(llama: Path, form: str) -> None:
    change, config, says = FORMS[form]
    rewrite(llama, change, {"quantization_config": config})
    for opens in OPENERS:
        with pytest.raises(
            ModelError, match=rf"is quantised \({says}\); Loci reads and changes plain"
        ) as refused:
            opens(llama)
        assert "\n" not in str(refused.value)
    assert census(open_empty(llama)).parts["mlp_weights"] == 2 * 3 * 128 * 256


@pytest.mark.parametrize(
    "form", ["fp8", "GPTQ", "compressed-tensors", "MXFP4", "bitsandbytes 4 bit"]
)
def test_quantised_files_without_a_word_in_the_configuration(llama: Path, form: str) -> None:
    rewrite(llama, FORMS[form][0])
    for opens in OPENERS:
        with pytest.raises(ModelError, match=r"is stored in .*: quantised weights, or none at all"):
            opens(llama)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.int8,
        torch.uint8,
        torch.int32,
        torch.int64,
        torch.bool,
        torch.float8_e5m2,
        torch.complex64,
    ],
)
def test_weights_in_other_numbers(llama: Path, dtype: torch.dtype) -> None:
    rewrite(llama, whole(dtype))
    word = str(dtype).removeprefix("torch.")
    for opens in OPENERS:
        with pytest.raises(ModelError, match=f"_proj.weight is stored in {word}"):
            opens(llama)


def test_biases_too_and_pickled_weights(llama: Path) -> None:
    state = load_file(llama / "model.safetensors")
    (llama / "model.safetensors").unlink()
    torch.save(state, llama / "pytorch_model.bin")
    assert open_model(llama, pickle=True).d_mlp == 256
    for name in ("model.norm.weight", "model.layers.1.mlp.down_proj.weight"):
        torch.save(state | {name: state[name].to(torch.int8)}, llama / "pytorch_model.bin")
        with pytest.raises(ModelError, match=f"{name} is stored in int8"):
            open_model(llama, pickle=True)


def test_masks_positions_and_other_tensors_may_be_anything(llama: Path) -> None:
    path = llama / "model.safetensors"
    state = load_file(path)
    more = {
        "model.layers.0.self_attn.bias": torch.ones(4, 4, dtype=torch.bool),
        "position_ids": torch.arange(9),
        "freqs": torch.ones(3, dtype=torch.complex64),
    }
    save_file(state | more, path, metadata={"format": "pt"})
    assert open_model(llama).d_mlp == open_weights(llama).d_mlp == 256


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "int8", "complex64", "float99"])
def test_dtypes_to_hold_weights_in(dtype: str) -> None:
    with pytest.raises(ModelError, match="no dtype"):
        open_model("demo", dtype=dtype)
