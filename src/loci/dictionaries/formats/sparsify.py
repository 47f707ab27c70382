"""sparsify: `<hookpoint>/cfg.json` and `<hookpoint>/sae.safetensors`; clearnets writes the same.

    encoder.weight [M, d]  encoder.bias  W_dec [M, d_out]  b_dec  W_skip [d_out, d]
                           f = topk(relu(W (x − b_dec) + b))

A transcoder does not subtract b_dec (those trained before February 2025 did: opening with a model
tries both). The folder's name is the module whose output it reads: `layers.5.mlp` is the MLP's
output, `layers.10` the residual stream after the layer.
"""

from collections.abc import Mapping
from typing import Any

from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.folding import with_input_bias
from loci.dictionaries.hook_names import point_of
from loci.dictionaries.tensors import State, by_feature
from loci.errors import DictionaryError
from loci.validate import brief


def fits(names: set[str], said: Mapping[str, Any]) -> bool:
    return {"encoder.weight", "encoder.bias", "W_dec", "b_dec"} <= names


def read(tensors: State, said: Mapping[str, Any], where: str) -> Dictionary:
    """The canonical form. Raises `DictionaryError` where the activation is not known."""
    activation = said.get("activation", "topk")
    if activation not in ("topk", "groupmax"):
        raise DictionaryError(
            f"{where}: no activation {brief(activation)} is read here: topk, groupmax"
        )
    features, transcoder = len(tensors["encoder.bias"]), bool(said.get("transcode", False))
    source = point_of(str(said.get("hookpoint", "")))
    stem, _, layer = (source or "").partition(".")
    inside = transcoder and stem in ("mlp_raw", "mlp_out")
    return Dictionary(
        W_enc=by_feature(tensors["encoder.weight"], features, where),
        b_enc=tensors["encoder.bias"],
        W_dec=by_feature(tensors["W_dec"], features, where),
        b_dec=tensors["b_dec"],
        activation="groupmax" if activation == "groupmax" else "topk",
        b_in=None if transcoder else tensors["b_dec"].clone(),
        k=said.get("k"),
        skip=tensors.get("W_skip"),
        transcoder=transcoder,
        point=f"mlp_in.{layer}" if inside else source,
        target=source if transcoder else None,
        format="sparsify",
        notes={"hookpoint": said["hookpoint"]} if "hookpoint" in said else {},
    )


def written(dictionary: Dictionary) -> tuple[State, dict[str, Any]]:
    """Tensors and configuration. Raises `DictionaryError` for what the format cannot say."""
    if dictionary.activation not in ("topk", "groupmax") or dictionary.normalise != "none":
        raise DictionaryError(
            "sparsify keeps top-k dictionaries of plain inputs; this one is"
            f" {dictionary.activation}"
        )
    d = with_input_bias(dictionary, None if dictionary.transcoder else dictionary.b_dec)
    tensors = {
        "encoder.weight": d.W_enc,
        "encoder.bias": d.b_enc,
        "W_dec": d.W_dec,
        "b_dec": d.b_dec,
    }
    tensors |= {} if d.skip is None else {"W_skip": d.skip}
    config = {
        "activation": d.activation,
        "expansion_factor": max(1, d.features // d.d_in),
        "normalize_decoder": True,
        "num_latents": d.features,
        "k": d.k,
        "multi_topk": False,
        "skip_connection": d.skip is not None,
        "transcode": d.transcoder,
        "d_in": d.d_in,
    }
    return tensors, config
