"""The edit as a value: made, shown, saved, applied, reverted, merged, compared, compressed,
exported.

    patch               `Patch`: low-rank changes, facts, base; `applied`, `save`; `factors`: Δ = LR
    reader              the file's format, checked on reading
    folders             an edited checkpoint; `undo`, `restoring`, `readback`: the way back, checked
    gguf_files          an edited GGUF file; `gguf_undo`, `gguf_lora`
    merging             patches as one, and of smaller rank; `interaction`: how far they disturb
    diff                between two patches, or two checkpoints; `extras`: their other contents
    export              LoRA adapters of PEFT and plain deltas
    neurons             added neurons; `wider`: checkpoints with them
    report              what the edit did when its prompts were asked again
    places, sums, carried, model_files: weights and files of a checkpoint
"""

from loci.deprecated import renamed
from loci.patches.diff import Difference, WeightDifference, diff_models, diff_patches, patch_between
from loci.patches.export import export_delta, export_peft
from loci.patches.factors import Factors
from loci.patches.folders import Applied, apply_to_folder, revert_to_folder
from loci.patches.gguf_files import AppliedGguf, apply_to_gguf, written_type
from loci.patches.gguf_lora import check_new_modelfile, export_gguf_lora, write_modelfile
from loci.patches.gguf_undo import revert_gguf, undo_of
from loci.patches.interaction import Interaction, strongest
from loci.patches.merging import compress, merge
from loci.patches.model_files import save_model
from loci.patches.neurons import (
    AddedNeurons,
    activation,
    beside,
    check_takes,
    takes_neurons,
    widened,
)
from loci.patches.patch import UNDO, Patch, applied, short
from loci.patches.reader import load_patch
from loci.patches.report import EditReport, FailedFact, MovedAnswer, OldAnswer

__getattr__ = renamed(__name__, {"Change": "WeightDifference", "Neurons": "AddedNeurons"})
__all__ = [
    "UNDO",
    "AddedNeurons",
    "Applied",
    "AppliedGguf",
    "Difference",
    "EditReport",
    "Factors",
    "FailedFact",
    "Interaction",
    "MovedAnswer",
    "OldAnswer",
    "Patch",
    "WeightDifference",
    "activation",
    "applied",
    "apply_to_folder",
    "apply_to_gguf",
    "beside",
    "check_new_modelfile",
    "check_takes",
    "compress",
    "diff_models",
    "diff_patches",
    "export_delta",
    "export_gguf_lora",
    "export_peft",
    "load_patch",
    "merge",
    "patch_between",
    "revert_gguf",
    "revert_to_folder",
    "save_model",
    "short",
    "strongest",
    "takes_neurons",
    "undo_of",
    "widened",
    "write_modelfile",
    "written_type",
]
