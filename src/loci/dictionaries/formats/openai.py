"""OpenAI's sparse autoencoders, version 5: one pickle a place.

    encoder.weight [M, d]  latent_bias  pre_bias  decoder.weight [d, M]
                           activation "TopK" or "ReLU", activation_state_dict {k}

With TopK the input is layer-normed first, by the unbiased standard deviation + 1e-5, and the output
is put back.
"""

from collections.abc import Mapping
from typing import Any

from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.tensors import State, by_feature
from loci.errors import DictionaryError
from loci.validate import brief


def fits(names: set[str], said: Mapping[str, Any]) -> bool:
    return {"encoder.weight", "latent_bias", "pre_bias", "decoder.weight"} <= names


def read(tensors: State, said: Mapping[str, Any], where: str) -> Dictionary:
    """The canonical form. Raises `DictionaryError` for another activation."""
    kind = said.get("activation", "ReLU")
    if kind not in ("TopK", "ReLU"):
        raise DictionaryError(f"{where}: no activation {brief(kind)} is read here: TopK, ReLU")
    state = said.get("activation_state_dict")
    k = state.get("k") if isinstance(state, Mapping) else None
    features = len(tensors["latent_bias"])
    return Dictionary(
        W_enc=by_feature(tensors["encoder.weight"], features, where),
        b_enc=tensors["latent_bias"],
        W_dec=by_feature(tensors["decoder.weight"], features, where, last=True),
        b_dec=tensors["pre_bias"],
        activation="topk" if kind == "TopK" else "relu",
        b_in=tensors["pre_bias"].clone(),
        k=k if k is None else int(k),
        normalise="layer_norm" if kind == "TopK" else "none",
        format="openai",
    )
