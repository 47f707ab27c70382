"""dictionary_learning: `config.json` and `ae.pt`, a pickle. Which class it was, the names of the
tensors tell.

    AutoEncoder      encoder.weight [M, d]  encoder.bias  decoder.weight [d, M]  bias
                     relu(W (x − bias) + b)
    AutoEncoderNew   the same with decoder.bias
                     nothing is subtracted
    GatedAutoEncoder encoder.weight  decoder.weight  decoder_bias  r_mag  gate_bias  mag_bias
                                     decoder_bias is subtracted
    (Batch)TopK      encoder.*  decoder.weight  b_dec  k  threshold
                     b_dec is subtracted
    JumpRelu         W_enc [d, M]  W_dec [M, d]  b_enc  b_dec  threshold
                     nothing is subtracted
    Matryoshka       the same, and k, group_sizes, active_groups
                     b_dec is subtracted

Top-k dictionaries are used with their threshold where one was learnt (threshold ≥ 0), else with the
k largest.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from loci.dictionaries.dictionary import ActivationKind, Dictionary
from loci.dictionaries.hook_names import point_of
from loci.dictionaries.tensors import State, by_feature

SPLIT = {"encoder.weight", "decoder.weight"}


def fits(names: set[str], said: Mapping[str, Any]) -> bool:
    if {"latent_bias", "pre_bias"} & names:
        return False
    whole = {"W_enc", "W_dec", "b_enc", "b_dec", "threshold"} <= names and (
        "trainer" in said or "group_sizes" in names
    )
    return whole or (
        names >= SPLIT and bool({"bias", "decoder.bias", "decoder_bias", "b_dec"} & names)
    )


def read(tensors: State, said: Mapping[str, Any], where: str) -> Dictionary:
    """The canonical form."""
    trainer = said.get("trainer")
    trainer = trainer if isinstance(trainer, Mapping) else {}
    split, gated = set(tensors) >= SPLIT, "gate_bias" in tensors
    b_enc = tensors["gate_bias" if gated else "encoder.bias" if split else "b_enc"]
    b_dec = next(
        tensors[name]
        for name in ("bias", "decoder.bias", "decoder_bias", "b_dec")
        if name in tensors
    )
    plain = "decoder.bias" in tensors or (not split and "k" not in tensors)
    activation, threshold, k = _activation(tensors, len(b_enc), gated)
    point = point_of(str(trainer["submodule_name"])) if "submodule_name" in trainer else None
    if point is None and isinstance(trainer.get("layer"), int):
        point = f"resid_post.{trainer['layer']}"
    return Dictionary(
        W_enc=by_feature(
            tensors["encoder.weight" if split else "W_enc"], len(b_enc), where, last=not split
        ),
        b_enc=b_enc,
        W_dec=by_feature(
            tensors["decoder.weight" if split else "W_dec"], len(b_enc), where, last=split
        ),
        b_dec=b_dec,
        activation=activation,
        b_in=None if plain else b_dec.clone(),
        threshold=threshold,
        k=k,
        gain=tensors["r_mag"].exp() if gated else None,
        b_gain=tensors["mag_bias"] if gated else None,
        point=point,
        model=trainer.get("lm_name"),
        format="dictionary_learning",
        notes={name: trainer[name] for name in ("dict_class", "layer") if name in trainer},
    )


def _activation(
    tensors: State, features: int, gated: bool
) -> tuple[ActivationKind, Tensor | None, int | None]:
    threshold = tensors.get("threshold")
    if gated:
        return "gated", None, None
    if "k" in tensors and (threshold is None or bool((threshold < 0).any())):
        return "topk", None, int(tensors["k"])
    if threshold is not None:
        return "jumprelu", threshold.float().expand(features).clone(), None
    return "relu", None, None
