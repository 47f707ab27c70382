"""A patch as a LoRA adapter in GGUF, which llama.cpp (`--lora`) and Ollama (`ADAPTER`) put on the
base as they run it.

    W x + (α / r) B A x  blk.N.ffn_down.weight.lora_a = A [r, in],
                         blk.N.ffn_down.weight.lora_b = B [out, r]

A = R and B = L of the patch; where changes differ in rank, α is the largest and B is scaled by r /
α, so that every product is L R.
Source: llama.cpp, `convert_lora_to_gguf.py` and `llama_adapter_lora_init`.
"""

from pathlib import Path

from loci.errors import OutputError, PatchError
from loci.files import write_aside
from loci.model import Weights
from loci.model.gguf import architecture_of, gguf_name
from loci.patches.factors import check_shape
from loci.patches.patch import Patch
from loci.patches.places import place_of

MODELFILE = "Modelfile"


def export_gguf_lora(patch: Patch, model: Weights, path: str | Path) -> str:
    """Write the adapter. Returns its architecture, as llama.cpp calls it.

    `model`: the patch's base, as a GGUF file, a folder or a hub id. Raises `PatchError` unless it
    is the base, for added neurons and for an architecture that GGUF files are not opened of;
    `OutputError` where it cannot be written.
    """
    patch.check_factors_only("exported")
    patch.check_base(model)
    try:
        import gguf
    except ImportError:
        raise PatchError(
            "writing a GGUF adapter needs the gguf package: pip install 'loci-lm[gguf]'"
        ) from None
    architecture = architecture_of(str(getattr(model.hf.config, "model_type", "")))
    largest = max(factors.rank for factors in patch.factors.values())
    with write_aside(path) as aside:
        writer = gguf.GGUFWriter(aside, architecture)
        try:
            writer.add_type(gguf.GGUFType.ADAPTER)
            writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
            writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(largest))
            writer.add_name(f"Loci patch {patch.id}")
            writer.add_string("loci.base", patch.base)
            for name, factors in patch.factors.items():
                place = place_of(model, name)
                check_shape(name, (place.stop - place.start, place.shape[1]), factors)
                if (place.start, place.stop) != (0, place.shape[0]):
                    raise PatchError(
                        f"{name} shares its module with another weight in {architecture}: export it"
                        " for PEFT"
                    )
                tensor = gguf_name(architecture, place.parameter)
                scaled = factors.left.double() * (factors.rank / largest)
                writer.add_tensor(f"{tensor}.lora_a", factors.right.float().contiguous().numpy())
                writer.add_tensor(f"{tensor}.lora_b", scaled.float().contiguous().numpy())
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return architecture


def check_new_modelfile(folder: str | Path) -> None:
    """Raise `OutputError` where a folder has a Modelfile, which is not replaced."""
    place = Path(folder) / MODELFILE
    if place.exists():
        raise OutputError(
            f"{place}: there is a file of this name, which is not replaced: move it away"
        )


def write_modelfile(folder: str | Path, base: str, adapter: str | Path | None = None) -> Path:
    """A Modelfile for `ollama create` in a folder: the base, and the adapter where there is one.
    Returns its path.

    `base`: a GGUF file or the name of a model that Ollama has. Raises `OutputError` where a
    Modelfile is there already.
    """
    check_new_modelfile(folder)
    place = Path(folder) / MODELFILE
    lines = [f"FROM {base}", *([f"ADAPTER {adapter}"] if adapter else [])]
    with write_aside(place) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place
