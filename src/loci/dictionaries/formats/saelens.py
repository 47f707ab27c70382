"""SAELens: a folder with `cfg.json` and `sae_weights.safetensors`, as version 6 and older ones
write it.

    W_enc [d_in, d_sae]  W_dec [d_sae, d_out]  b_enc  b_dec  threshold  |  b_gate b_mag r_mag  |
                         W_skip [d_out, d_in]

Before version 6 a missing `apply_b_dec_to_input` means that b_dec is subtracted, and a `topk` in
`activation_fn` under the architecture "standard" means top-k. Trained with
`expected_average_only_in`, the input scale is to be folded by whoever saves; where it was not,
opening with a model tries it.
"""

from collections.abc import Mapping
from typing import Any

from loci.dictionaries.dictionary import ActivationKind, Dictionary, Normalisation
from loci.dictionaries.folding import ranked_by_norm, without_input_bias
from loci.dictionaries.hook_names import point_of
from loci.dictionaries.tensors import State, by_feature
from loci.errors import DictionaryError
from loci.validate import brief

ARCHITECTURES: dict[str, ActivationKind] = {
    "standard": "relu",
    "topk": "topk",
    "batchtopk": "jumprelu",
    "matryoshka_batchtopk": "jumprelu",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
    "abstopk": "abstopk",
}
NORMS: dict[object, Normalisation] = {
    None: "none",
    False: "none",
    True: "none",
    "none": "none",
    "expected_average_only_in": "none",
    "constant_norm_rescale": "unit_norm",
    "layer_norm": "layer_norm",
}


def fits(names: set[str], said: Mapping[str, Any]) -> bool:
    return {"W_enc", "W_dec", "b_dec"} <= names and "d_in" in said and "d_sae" in said


def read(tensors: State, said: Mapping[str, Any], where: str) -> Dictionary:
    """The canonical form. Raises `DictionaryError` for an architecture or a normalisation that is
    not known.
    """
    architecture = said.get("architecture", "standard")
    if architecture not in ARCHITECTURES:
        raise DictionaryError(
            f"{where}: no architecture {brief(architecture)} is read here:"
            f" {', '.join(ARCHITECTURES)}"
        )
    if said.get("normalize_activations") not in NORMS:
        raise DictionaryError(
            f"{where}: inputs normalised by {brief(said['normalize_activations'])} are not read"
            " here"
        )
    meta = said.get("metadata") if isinstance(said.get("metadata"), Mapping) else {}
    assert isinstance(meta, Mapping)
    older = "metadata" not in said
    activation, k = _activation(said, architecture)
    gated, transcoder = activation == "gated", "transcoder" in architecture
    features = len(
        tensors["b_gate" if gated else "b_enc"]
        if {"b_enc", "b_gate"} & set(tensors)
        else tensors["W_dec"]
    )
    subtracts = not transcoder and bool(said.get("apply_b_dec_to_input", older))
    hook = meta.get("hook_name") or said.get("hook_name") or said.get("hook_point")
    out = meta.get("hook_name_out") or said.get("hook_name_out")
    dictionary = Dictionary(
        W_enc=by_feature(tensors["W_enc"], features, where, last=True),
        b_enc=tensors["b_gate" if gated else "b_enc"],
        W_dec=by_feature(tensors["W_dec"], features, where),
        b_dec=tensors["b_dec"],
        activation=activation,
        b_in=tensors["b_dec"].clone() if subtracts else None,
        threshold=tensors.get("threshold"),
        k=k,
        gain=tensors["r_mag"].exp() if gated else None,
        b_gain=tensors["b_mag"] if gated else None,
        skip=tensors.get("W_skip"),
        normalise=NORMS[said.get("normalize_activations")],
        transcoder=transcoder,
        point=point_of(hook),
        target=point_of(out) if transcoder else None,
        model=meta.get("model_name") or said.get("model_name"),
        format="saelens" if not older else "saelens, before version 6",
        notes=_notes(said, meta),
    )
    return (
        ranked_by_norm(dictionary)
        if said.get("rescale_acts_by_decoder_norm") and activation != "relu"
        else dictionary
    )


def _activation(said: Mapping[str, Any], architecture: str) -> tuple[ActivationKind, int | None]:
    """The activation, and k. Old files say it beside the architecture."""
    function = said.get("activation_fn_str", said.get("activation_fn"))
    arguments = said.get("activation_fn_kwargs")
    k = said.get("k", arguments.get("k") if isinstance(arguments, Mapping) else None)
    if architecture == "standard" and function == "topk":
        return "topk", k
    kind = ARCHITECTURES[architecture]
    return kind, k if kind in ("topk", "abstopk") else None


def _notes(said: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    kept = (
        "hook_name",
        "dataset_path",
        "context_size",
        "prepend_bos",
        "sae_lens_version",
        "neuronpedia_id",
    )
    notes = {
        name: {**said, **meta}[name] for name in kept if {**said, **meta}.get(name) is not None
    }
    scaled = said.get("normalize_activations") == "expected_average_only_in"
    return notes | ({"scale": "√d/E‖x‖, folded or not"} if scaled else {})


def written(dictionary: Dictionary) -> tuple[State, dict[str, Any]]:
    """Tensors and configuration of version 6. Raises `DictionaryError` for what the format cannot
    say.
    """
    own_bias = dictionary.b_in is not None and bool((dictionary.b_in == dictionary.b_dec).all())
    d = dictionary if own_bias and not dictionary.transcoder else without_input_bias(dictionary)
    kinds = {
        "relu": "transcoder" if d.transcoder else "standard",
        "topk": "topk",
        "abstopk": "abstopk",
        "gated": "gated",
        "jumprelu": "jumprelu_transcoder" if d.transcoder else "jumprelu",
    }
    architecture = kinds.get(d.activation)
    if architecture is None or (d.transcoder and d.activation not in ("relu", "jumprelu")):
        kind = "transcoder" if d.transcoder else "dictionary"
        raise DictionaryError(f"SAELens has no form for a {d.activation} {kind}")
    if d.skip is not None:
        architecture = architecture.replace("transcoder", "skip_transcoder")
    norms = {"none": "none", "layer_norm": "layer_norm", "unit_norm": "constant_norm_rescale"}
    tensors = {"W_enc": d.W_enc.T.contiguous(), "W_dec": d.W_dec, "b_dec": d.b_dec}
    if d.activation == "gated":
        assert d.gain is not None and d.b_gain is not None
        tensors |= {"b_gate": d.b_enc, "b_mag": d.b_gain, "r_mag": d.gain.log()}
    else:
        tensors["b_enc"] = d.b_enc
    tensors |= (
        {} if d.threshold is None or d.activation != "jumprelu" else {"threshold": d.threshold}
    )
    tensors |= {} if d.skip is None else {"W_skip": d.skip}
    config = {
        "d_in": d.d_in,
        "d_sae": d.features,
        "dtype": "float32",
        "device": "cpu",
        "architecture": architecture,
        "apply_b_dec_to_input": d.b_in is not None,
        "normalize_activations": norms[d.normalise],
        "reshape_activations": "none",
        "metadata": {
            "model_name": d.model,
            "hook_name": d.point,
            **({"hook_name_out": d.target} if d.transcoder else {}),
        },
    }
    ranked = d.activation in ("topk", "abstopk")
    config |= {"k": d.k, "rescale_acts_by_decoder_norm": False} if ranked else {}
    return tensors, config | ({"d_out": d.d_out} if d.transcoder else {})
