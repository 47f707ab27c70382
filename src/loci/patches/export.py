"""A patch in the forms of others.

A LoRA adapter for PEFT (Hu et al. 2021):    W x + (α / r) B A x
                                             with B = L, A = R and α = r, module by module; where
                                             gate and up share a
module, B = [L_gate 0; 0 L_up] and A = [R_gate; R_up]. Or the dense changes under the state dict's
own names, as the modules keep them.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from loci.files import write_aside
from loci.model import DEMO, Weights
from loci.patches.factors import Factors, check_shape, joined, rounded
from loci.patches.patch import Patch
from loci.patches.places import WeightRows, place_of

SCHEMA = "loci.delta/1"
PREFIX = "base_model.model"
"""PEFT's prefix of a module's path."""


def export_peft(
    patch: Patch, model: Weights, folder: str | Path, *, base: str | None = None
) -> str:
    """Write a LoRA adapter to a new folder. `PeftModel.from_pretrained(base, folder)` gives the
    logits of the edited model, to rounding.

    The adapter names its base as transformers finds it: a hub id as it is, with its revision, and a
    folder (the embedded model's too) by its full path; or `base`, where the adapter will be used
    elsewhere. Returns that name. Raises `PatchError` unless `model` is the patch's base.
    """
    patch.check_factors_only("exported")
    patch.check_base(model)
    whole = _by_module(patch, model)
    name, revision = (base, None) if base else _base_of(model)
    tensors = {}
    for place, factors in whole.items():
        tensors[f"{PREFIX}.{place.module}.lora_A.weight"] = factors.right.contiguous()
        tensors[f"{PREFIX}.{place.module}.lora_B.weight"] = factors.left.contiguous()
    with write_aside(folder, folder=True) as aside:
        aside.mkdir()
        (aside / "adapter_model.safetensors").write_bytes(
            save(tensors, metadata={"format": "pt", "patch": patch.id})
        )
        (aside / "adapter_config.json").write_text(
            json.dumps(_config(whole, name, revision), indent=2), encoding="utf-8"
        )
        (aside / "README.md").write_text(_readme(patch, name), encoding="utf-8")
    return name


def _base_of(model: Weights) -> tuple[str, str | None]:
    """The model's name for transformers, and its revision where that is known."""
    if model.source is None:
        return model.name, None
    folder = model.source.folder
    if model.name == DEMO or Path(model.name).expanduser().is_dir():
        return str(folder), None
    return model.name, folder.name


def _readme(patch: Patch, base: str) -> str:
    return f"""---
base_model: {json.dumps(base)}
library_name: peft
---

LoRA adapter of the Loci patch {patch.id} ({len(patch.facts)} facts), for the weights {patch.base}.

    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained({base!r})
    model = PeftModel.from_pretrained(base, "this folder")

Where the base lies elsewhere on your machine, name that place instead: what counts is that
its weights are the same.
"""


def _config(whole: dict[WeightRows, Factors], base: str, revision: str | None) -> dict[str, Any]:
    ranks = {place.module: factors.rank for place, factors in whole.items()}
    largest = max(ranks.values())
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": revision,
        "inference_mode": True,
        "target_modules": sorted(ranks),
        "fan_in_fan_out": any(place.transposed for place in whole),
        "r": largest,
        "lora_alpha": largest,
        "rank_pattern": ranks,
        "alpha_pattern": ranks,
        "lora_dropout": 0.0,
        "bias": "none",
    }


def export_delta(patch: Patch, model: Weights, path: str | Path) -> None:
    """Write the dense changes, float32, as safetensors: add each to the parameter of its name.
    Raises `PatchError` as `export_peft`.
    """
    patch.check_factors_only("exported")
    patch.check_base(model)
    tensors = {}
    for place, factors in _by_module(patch, model).items():
        delta = rounded(factors.delta, torch.float32, f"the change of {place.parameter}")
        tensors[place.parameter] = (delta.T if place.transposed else delta).contiguous()
    header = json.dumps(
        {"schema": SCHEMA, "patch": patch.id, "base": patch.base, "base_name": patch.base_name}
    )
    with write_aside(path) as aside:
        aside.write_bytes(save(tensors, metadata={"format": "pt", "loci": header}))


def _by_module(patch: Patch, model: Weights) -> dict[WeightRows, Factors]:
    """One change for each module: those of gate and up together where they share one."""
    places: dict[str, list[tuple[WeightRows, Factors]]] = {}
    for name, factors in patch.factors.items():
        place = place_of(model, name)
        check_shape(name, (place.stop - place.start, place.shape[1]), factors)
        for side, factor in factors._asdict().items():
            rounded(factor, torch.float32, f"{name}.{side}")
        places.setdefault(place.module, []).append((place, factors))
    return {
        parts[0][0]: joined(
            [Factors(place.spread(f.left.float()), f.right.float()) for place, f in parts]
        )
        for parts in places.values()
    }
