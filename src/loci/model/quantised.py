"""Weights that are no plain numbers: quantised, packed, complex. They are refused on opening, as
every read of them would be wrong.

What says so: `quantization_config` in the configuration; else the dtypes of the files, where a
matrix is stored in other numbers than floating point of 16 bits or more.
"""

from typing import Any

from torch import nn

from loci.errors import ModelError
from loci.model.stored import FLOATS, Stored, same_parameter

METHODS = {
    "fp8": "FP8 with scales",
    "fbgemm_fp8": "FP8 with scales",
    "bitsandbytes": "bitsandbytes",
    "gptq": "GPTQ",
    "awq": "AWQ",
    "compressed-tensors": "compressed-tensors",
    "mxfp4": "MXFP4",
    "torchao": "torchao",
}
"""Names for people of each `quant_method` in a configuration; others go by the name in the file."""
PACKED = (
    ".weight",
    ".qweight",
    ".qzeros",
    "_packed",
    "_blocks",
    ".SCB",
    ".absmax",
    ".quant_map",
    "weight_scale_inv",
)
"""Ends of the names of matrices and of what belongs to quantised ones."""
ADVICE = (
    "Loci reads and changes plain floating-point weights: open the model that it was quantised"
    " from, or save it dequantised (bfloat16) first"
)


def check_config_plain(config: Any, source: str) -> None:
    """Raise `ModelError` where a configuration says that the weights are quantised."""
    for part in (config, config.get_text_config()):
        for name in ("quantization_config", "compression_config"):
            stated = getattr(part, name, None)
            if stated is not None:
                raise ModelError(f"{source!r} is quantised ({_method(stated)}); {ADVICE}")


def _method(config: Any) -> str:
    plain = config if isinstance(config, dict) else getattr(config, "__dict__", {})
    method = plain.get("quant_method")
    method = getattr(method, "value", method) or (
        "bitsandbytes" if any("load_in_" in key for key in plain) else "method not named"
    )
    bits = plain.get("bits") or (
        4 if plain.get("load_in_4bit") else 8 if plain.get("load_in_8bit") else None
    )
    return f"{METHODS.get(str(method), str(method))}{f', {bits} bit' if bits else ''}"


def check_stored_plain(checkpoint: Stored, source: str) -> None:
    """Raise `ModelError` where a matrix of a checkpoint is stored in other numbers than floating
    point. Reads the headers alone.
    """
    for name, tensor in checkpoint.tensors.items():
        if tensor.dtype not in FLOATS and name.endswith(PACKED):
            raise ModelError(_odd(source, name, tensor.word))


def check_parameters_plain(checkpoint: Stored, hf: nn.Module, source: str) -> None:
    """Raise `ModelError` where any parameter of the opened model is stored so; other tensors may be
    anything (masks, positions).
    """
    odd = [tensor for tensor in checkpoint.tensors.values() if tensor.dtype not in FLOATS]
    for tensor in odd:
        if any(same_parameter(tensor.name, name) for name, _ in hf.named_parameters()):
            raise ModelError(_odd(source, tensor.name, tensor.word))


def _odd(source: str, name: str, word: str) -> str:
    if word.startswith("complex"):
        return (
            f"{source!r}: {name} is stored in {word}, and weights are real numbers: not a"
            " checkpoint of this kind of model"
        )
    return f"{source!r}: {name} is stored in {word}: quantised weights, or none at all; {ADVICE}"
