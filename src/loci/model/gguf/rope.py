"""Rotary embeddings of a GGUF file, restored: what the file says, as transformers'
`rope_parameters`.

A GGUF stores scaled rotary frequencies in one of two ways. Metadata name a scaling
(`rope.scaling.type` with its factor). Tensors list a divisor for each frequency: θ_i ← θ_i / f_i
(`rope_freqs` for Llama 3, `rope_factors_short` and `_long` for Phi-3). The loader of transformers
reads neither; the model would run, and be wrong. Llama 3's divisors come from

    f_i = 1                                    wavelength λ_i < L / high
    f_i = factor                               λ_i > L / low
    f_i = 1 / ((1 − s)/factor + s)             between, s = (L/λ_i − low) / (high − low)

with λ_i = 2π·base^(2i/d) and the original context L; they are recovered by trying the published
settings and comparing all divisors. What cannot be restored is refused.
Source: Llama 3.1's configuration; llama.cpp's `rope_freqs`.
"""

import math
from typing import Any

import numpy as np

from loci.errors import ModelError
from loci.model.gguf.header import Header

FREQS, SHORT, LONG = "rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"
ORIGINAL_CONTEXTS = (8192, 4096, 2048, 16384, 32768, 131072)
LOW, HIGH = 1.0, 4.0


def rope_parameters(header: Header, divisors: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """The scaling that the file asks for, without its base; None where it asks for none.

    `divisors`: the file's rope tensors by name. Raises `ModelError` where the scaling has no
    counterpart here.
    """
    kind = str(header.of("rope.scaling.type", "none"))
    if FREQS in divisors:
        return _llama3(header, np.asarray(divisors[FREQS], dtype=np.float64))
    if LONG in divisors or SHORT in divisors:
        return _longrope(header, divisors)
    if kind in ("none", "") or (kind == "linear" and _factor(header) == 1):
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": _factor(header)}
    if kind == "yarn":
        return _yarn(header)
    raise ModelError(
        f"{header.path}: its rotary scaling {kind!r} cannot be restored: convert a checkpoint in"
        " safetensors"
    )


def _factor(header: Header) -> float:
    factor = header.of("rope.scaling.factor", header.of("rope.scale_linear", 1.0))
    if not isinstance(factor, (int, float)) or not math.isfinite(factor) or factor <= 0:
        raise ModelError(
            f"{header.path}: rope.scaling.factor is {factor!r}, expected a positive number"
        )
    return float(factor)


def _yarn(header: Header) -> dict[str, Any]:
    original = header.of("rope.scaling.original_context_length")
    if not isinstance(original, int) or original < 1:
        raise ModelError(
            f"{header.path}: yarn scaling without rope.scaling.original_context_length"
        )
    scaling = {
        "rope_type": "yarn",
        "factor": _factor(header),
        "original_max_position_embeddings": original,
    }
    for key, name in (
        ("attn_factor", "attention_factor"),
        ("yarn_beta_fast", "beta_fast"),
        ("yarn_beta_slow", "beta_slow"),
    ):
        value = header.of(f"rope.scaling.{key}")
        if value is not None:
            scaling[name] = float(value)
    return scaling


def _longrope(header: Header, divisors: dict[str, np.ndarray]) -> dict[str, Any]:
    original = header.of("rope.scaling.original_context_length")
    if SHORT not in divisors or LONG not in divisors or not isinstance(original, int):
        raise ModelError(f"{header.path}: its long and short rotary factors are not complete")
    scaling = {
        "rope_type": "longrope",
        "short_factor": [float(value) for value in divisors[SHORT]],
        "long_factor": [float(value) for value in divisors[LONG]],
        "original_max_position_embeddings": original,
    }
    attention = header.of("rope.scaling.attn_factor")
    return scaling | ({"attention_factor": float(attention)} if attention is not None else {})


def _llama3(header: Header, divisors: np.ndarray) -> dict[str, Any]:
    base = float(header.of("rope.freq_base", 10000.0))
    factor = round(float(divisors.max()), 4)
    for original in ORIGINAL_CONTEXTS:
        expected = llama3_divisors(base, 2 * len(divisors), factor, original)
        if np.allclose(divisors, expected, rtol=1e-3):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": LOW,
                "high_freq_factor": HIGH,
                "original_max_position_embeddings": original,
            }
    raise ModelError(
        f"{header.path}: its rotary divisors ({FREQS}) fit no known scaling: convert a checkpoint"
        " in safetensors"
    )


def llama3_divisors(
    base: float, dim: int, factor: float, original: int, low: float = LOW, high: float = HIGH
) -> np.ndarray:
    """f_i of the formula above, [dim / 2]."""
    wavelength = 2 * np.pi * base ** (np.arange(0, dim, 2) / dim)
    share = np.clip((original / wavelength - low) / (high - low), 0, 1)
    return 1 / ((1 - share) / factor + share)
