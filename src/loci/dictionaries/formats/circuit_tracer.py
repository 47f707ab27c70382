"""circuit-tracer: `config.yaml` and a file for each layer, of single-layer or of cross-layer
transcoders.

    layer_{i}.safetensors  W_enc [M, d]  W_dec [M, d]  b_enc  b_dec  activation_function.threshold
                           W_skip [d, d], y += x @ W_skipᵀ  k
    W_enc_{i}.safetensors  W_enc_i [M, d]  b_enc_i  b_dec_i  threshold_i
                           W_dec_{i}.safetensors   W_dec_i [M, layers − i, d]

A layer of a cross-layer transcoder reads one layer and writes into all from there on; its W_skip is
used as x @ W_skip. Here its canonical form holds what it writes into its own layer, and `across`
what it writes further up.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from loci.dictionaries.dictionary import ActivationKind, Dictionary
from loci.dictionaries.hook_names import point_of
from loci.dictionaries.tensors import State, by_feature
from loci.errors import DictionaryError


def fits(names: set[str], said: Mapping[str, Any]) -> bool:
    plain = {"W_enc", "W_dec", "b_enc", "b_dec"} <= names and not {
        "d_sae",
        "trainer",
        "loci",
    } & set(said)
    return plain and ("activation_function.threshold" in names or "layer" in said)


def read(tensors: State, said: Mapping[str, Any], where: str) -> Dictionary:
    """One layer's transcoder; `said` is the set's configuration with the layer's number."""
    features = len(tensors["b_enc"])
    activation, threshold, k = _activation(
        tensors, said, tensors.get("activation_function.threshold"), features, where
    )
    point, target = hooks(said)
    return Dictionary(
        W_enc=by_feature(tensors["W_enc"], features, where),
        b_enc=tensors["b_enc"],
        W_dec=by_feature(tensors["W_dec"], features, where),
        b_dec=tensors["b_dec"],
        activation=activation,
        threshold=threshold,
        k=k,
        skip=tensors.get("W_skip"),
        transcoder=True,
        point=point,
        target=target,
        model=said.get("model_name"),
        format="circuit-tracer",
        notes={"layer": said["layer"]} if "layer" in said else {},
    )


def read_cross(
    encoder: State, decoder: State, said: Mapping[str, Any], where: str
) -> tuple[Dictionary, Tensor]:
    """One layer of a cross-layer transcoder, and what its features write: [features, targets,
    d].
    """
    i = said["layer"]
    lacking = [name for name in (f"W_enc_{i}", f"b_enc_{i}", f"b_dec_{i}") if name not in encoder]
    if lacking or f"W_dec_{i}" not in decoder:
        raise DictionaryError(f"{where}: {lacking[0] if lacking else f'W_dec_{i}'} is missing")
    across, features = decoder[f"W_dec_{i}"], len(encoder[f"b_enc_{i}"])
    if across.ndim != 3 or len(across) != features:
        raise DictionaryError(
            f"{where}: W_dec_{i} has the shape {tuple(across.shape)}: expected features × layers ×"
            " width"
        )
    activation, threshold, k = _activation(
        encoder, said, encoder.get(f"threshold_{i}"), features, where
    )
    point, target = hooks(said)
    skip = encoder.get(f"W_skip_{i}", encoder.get("W_skip"))
    layer = Dictionary(
        W_enc=by_feature(encoder[f"W_enc_{i}"], features, where),
        b_enc=encoder[f"b_enc_{i}"],
        W_dec=across[:, 0].contiguous(),
        b_dec=encoder[f"b_dec_{i}"],
        activation=activation,
        threshold=threshold,
        k=k,
        skip=None if skip is None else skip.T.contiguous(),
        transcoder=True,
        point=point,
        target=target,
        model=said.get("model_name"),
        format="circuit-tracer, cross-layer",
        notes={"layer": i},
    )
    return layer.check(where), across


def hooks(said: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Input and output as points; circuit-tracer names the hook alone, and the layer's number
    stands in the file's name.
    """
    points = []
    for name in ("feature_input_hook", "feature_output_hook"):
        hook = said.get(name)
        full = (
            hook
            if not isinstance(hook, str) or "blocks." in hook
            else f"blocks.{said.get('layer', 0)}.{hook}"
        )
        points.append(point_of(full))
    return points[0], points[1]


def _activation(
    tensors: State, said: Mapping[str, Any], threshold: Tensor | None, features: int, where: str
) -> tuple[ActivationKind, Tensor | None, int | None]:
    kind = said.get(
        "activation", "jumprelu" if threshold is not None else "topk" if "k" in tensors else "relu"
    )
    if kind == "topk":
        k = said.get("k", tensors.get("k"))
        return "topk", None, None if k is None else int(k)
    if kind == "jumprelu" and threshold is not None:
        return "jumprelu", threshold.float().flatten().expand(features).clone(), None
    if kind == "relu":
        return "relu", None, None
    raise DictionaryError(
        f"{where}: no activation {kind!r} without a threshold is read here: relu, topk, jumprelu"
    )
