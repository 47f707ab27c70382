"""Gemma Scope 1 (`params.npz`) and 2 (`params.safetensors`): JumpReLU, b_dec not subtracted.

    W_enc or w_enc [d, M]  W_dec or w_dec [M, d]  b_enc  b_dec  threshold
                           affine_skip_connection [d, d], y += x @ A

Libraries disagree on whether A is transposed, and on whether a transcoder reads its input before or
after the norm's gain: opening with a model tries each and says which fits.
"""

from collections.abc import Mapping
from typing import Any

from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.hook_names import point_of, point_of_folder, target_of
from loci.dictionaries.tensors import State, by_feature


def fits(names: set[str], said: Mapping[str, Any]) -> bool:
    lower = {name.lower() for name in names}
    plain = {"w_enc", "w_dec", "b_enc", "b_dec", "threshold"} <= lower
    return plain and not {"trainer", "d_sae"} & set(said) and "loci" not in said


def read(tensors: State, said: Mapping[str, Any], where: str) -> Dictionary:
    """The canonical form; the point as the configuration or the folders say it."""
    by_name = {name.lower(): tensor for name, tensor in tensors.items()}
    skip = by_name.get("affine_skip_connection")
    hooks = [point_of(str(said[name])) for name in said if "hook_point" in name]
    point = next((hook for hook in hooks if hook), None) or point_of_folder(
        str(said.get("path", ""))
    )
    transcoder = (
        "transcoder" in str(said.get("type", ""))
        or skip is not None
        or "transcoder" in str(said.get("path", ""))
    )
    features = len(by_name["b_enc"])
    return Dictionary(
        W_enc=by_feature(by_name["w_enc"], features, where, last=True),
        b_enc=by_name["b_enc"],
        W_dec=by_feature(by_name["w_dec"], features, where),
        b_dec=by_name["b_dec"],
        activation="jumprelu",
        threshold=by_name["threshold"],
        skip=None if skip is None else skip.T.contiguous(),
        transcoder=transcoder,
        point=point,
        target=target_of(point) if transcoder else None,
        model=said.get("model_name"),
        format="gemma scope",
        notes={name: said[name] for name in ("l0", "width") if name in said},
    )
