"""An edited checkpoint whose MLPs have neurons more: the weight files written again, wider where
the model is; the base's own are kept.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from loci.errors import PatchError
from loci.model import Model
from loci.model.stored import FLOATS, Stored, StoredTensor, stored
from loci.patches.carried import KEPT
from loci.patches.neurons import BIASES, WIDTHS, widened
from loci.patches.patch import Patch
from loci.patches.sums import Rewritten


@torch.no_grad()
def write_wider(
    patch: Patch, model: Model, base: Stored, changes: Sequence[Rewritten], folder: Path
) -> dict[str, Tensor]:
    """Write weight files and configuration; what is not wider stays as stored. The parameters that
    are new or not the model's own.

    `base` was found in `folder`, and its files lie in `loci-undo.files` now. Cost: a copy of the
    model, and one file in memory.
    """
    kept = stored(folder / KEPT)
    assert kept is not None
    wide = widened(model, patch.neurons)
    sums = {change.parameter: change for change in changes}
    old = dict(model.hf.named_parameters())
    made, wanted = {}, {}
    for name, values in wide.hf.named_parameters():
        if name in sums or name not in old or old[name].shape != values.shape:
            home = _home(kept, model, name if name in old else _sibling(name))
            inner = sums[name].after if name in sums else home.read() if name in old else None
            tensor = values.detach().cpu().to(FLOATS[home.dtype])
            if inner is not None:
                tensor[tuple(map(slice, inner.shape))] = inner
            own = (
                home.name
                if name in old
                else f"{home.name.rpartition('.')[0]}.{name.rpartition('.')[2]}"
            )
            made[own], wanted[name] = (home.file.name, tensor), tensor.to(values.dtype)
    _write(kept, made, folder)
    _write_config(folder, wide)
    return wanted


def _home(kept: Stored, model: Model, name: str) -> StoredTensor:
    tensor = kept.find(name, model.parameter(name))
    if tensor is None:
        raise PatchError(
            f"no tensor of the base holds the numbers of {name} as the model has them: save the"
            " model first, and open that"
        )
    return tensor


def _sibling(bias: str) -> str:
    """The weight beside a bias."""
    return f"{bias.rpartition('.')[0]}.weight"


def _write(kept: Stored, made: Mapping[str, tuple[str, Tensor]], folder: Path) -> None:
    sizes = 0
    where: dict[str, str] = {}
    for file in kept.files:
        tensors = load_file(file) | {
            name: tensor for name, (home, tensor) in made.items() if home == file.name
        }
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            folder / file.name,
            metadata=metadata,
        )
        where |= dict.fromkeys(tensors, file.name)
        sizes += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if kept.index:
        index = json.loads(kept.index.read_text(encoding="utf-8"))
        index |= {
            "metadata": {**index.get("metadata", {}), "total_size": sizes},
            "weight_map": where,
        }
        (folder / kept.index.name).write_text(json.dumps(index, indent=2), encoding="utf-8")


def _write_config(folder: Path, wide: Model) -> None:
    """The base's configuration with the new width, and with biases where the model has them now."""
    plain = json.loads((folder / KEPT / "config.json").read_text(encoding="utf-8"))
    config = wide.config.to_dict()
    width = next(name for name in WIDTHS if name in config)
    plain[width] = config[width]
    if BIASES in config:
        plain[BIASES] = config[BIASES]
    (folder / "config.json").write_text(
        json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
