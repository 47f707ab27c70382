"""Transcoders of all layers: a set of single-layer ones, or a cross-layer transcoder, whose
features write into later layers too.

y_l = Σ_{s ≤ l} f_s across_s[:, l − s] + b_dec_l (+ skip_l x_l)        cross-layer
y_l = f_l W_dec_l + b_dec_l (+ skip_l x_l)                             single-layer
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.formats.circuit_tracer import read_cross
from loci.dictionaries.loading import SETS, load_dictionary, read_yaml
from loci.dictionaries.tensors import read_tensors
from loci.errors import DictionaryError
from loci.validate import is_there, named


@dataclass(frozen=True)
class TranscoderSet:
    """The transcoders of a model's layers, from layer 0 on."""

    layers: tuple[Dictionary, ...]
    across: tuple[Float[Tensor, "features targets d_out"], ...] = ()
    """Of a cross-layer transcoder: what the features of each layer write into it and each layer
    above; empty for single-layer ones.
    """
    config: Mapping[str, object] | None = None

    def encode(self, inputs: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Features of each layer, from the layers' inputs."""
        return {layer: self.layers[layer].encode(x) for layer, x in inputs.items()}

    def decode(
        self, features: Mapping[int, Tensor], inputs: Mapping[int, Tensor]
    ) -> dict[int, Tensor]:
        """The set's reconstruction of each layer's MLP output, for layers whose lower ones are all
        given.
        """
        if not self.across:
            return {
                layer: self.layers[layer].decode(f, inputs[layer]) for layer, f in features.items()
            }
        outputs = {}
        for layer in features:
            y = self.layers[layer].decode(features[layer], inputs[layer])
            for source in range(layer):
                y = y + features[source] @ self.across[source][:, layer - source]
            outputs[layer] = y
        return outputs


def load_transcoders(folder: str | Path, *, pickle: bool = False) -> TranscoderSet:
    """All layers of a circuit-tracer folder. Raises `DictionaryError` for gaps between layers, and
    for remote lists.
    """
    folder = Path(folder)
    config = next((read_yaml(folder / name) for name in SETS if is_there(folder / name)), None)
    if config is None:
        raise DictionaryError(f"{named(folder)}: there is no config.yaml in it")
    if config.get("model_kind") == "cross_layer_transcoder":
        return _cross(folder, config)
    listed = config.get("transcoders")
    files = (
        [folder / str(name) for name in listed]
        if isinstance(listed, list)
        else _numbered(folder, "layer_{}.safetensors")
    )
    remote = [file for file in files if "hf:" in str(file)]
    if remote:
        raise DictionaryError(
            f"{named(folder)}: {named(remote[0].name)} lies on the hub: download it, and name it in"
            " config.yaml"
        )
    return TranscoderSet(
        tuple(load_dictionary(file, pickle=pickle) for file in files), config=config
    )


def _cross(folder: Path, config: dict[str, object]) -> TranscoderSet:
    layers, across = [], []
    for i, file in enumerate(_numbered(folder, "W_enc_{}.safetensors")):
        other = folder / f"W_dec_{i}.safetensors"
        layer, writes = read_cross(
            read_tensors(file)[0], read_tensors(other)[0], {**config, "layer": i}, named(file)
        )
        layers.append(layer)
        across.append(writes)
    for i, writes in enumerate(across):
        if writes.shape[1] != len(layers) - i:
            said = f"W_dec_{i} writes into {writes.shape[1]} layers"
            raise DictionaryError(
                f"{named(folder)}: {said}, and from layer {i} on there are {len(layers) - i}"
            )
    return TranscoderSet(tuple(layers), tuple(across), config)


def _numbered(folder: Path, form: str) -> list[Path]:
    """The files of layers 0, 1, …; one beyond a gap is a gap."""
    entries = sorted(folder.glob(form.format("*")))
    files = [folder / form.format(i) for i in range(len(entries))]
    missing = [file.name for file in files if not is_there(file)]
    if not entries or missing:
        raise DictionaryError(
            f"{named(folder)}: {missing[0] if missing else form.format(0)} is missing"
        )
    return files
