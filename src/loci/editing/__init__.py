"""Editing: from facts to a patch.

facts ──EditData──▶ method.fit(model, data) ──WeightUpdate──▶ Patch

edit                `edit(model, facts)`, which is `loci.edit`: the best method for their number
methods/            ROME, EMMET, MEMIT, AlphaEdit, Joint, FineTune: one `fit` each, as in
                    `MEMIT(lam=0.1).fit(model, EditData.of(model, facts))`
data                input and output of a method
prompts             edit prompts and retain prompts; `phrasings`, `neighbours`: where from
objective           the loss that `targets` and the joint search minimise
targets             target vectors δ; `aligned_batch`, `target_loss`, `vocabulary`: one step
solver              R, K → ΔW in the metric of the method
statistics          second moments of keys, C = E[k kᵀ], in a pass over text
joint               all layers at once; `joint_search`, `joint_settings`, `curvature`
calibration         the layer and λ, tried on a few facts
report              the edit's prompts asked again; `remove`: unlearning; `check`: refusals
"""

from loci.deprecated import renamed
from loci.editing.calibration import Calibration, calibrate
from loci.editing.check import check_edits
from loci.editing.data import EditData, WeightUpdate, output_changes
from loci.editing.joint_settings import JointSettings
from loci.editing.methods import (
    EMMET,
    MEMIT,
    METHODS,
    ROME,
    TOGETHER,
    AlphaEdit,
    FineTune,
    Joint,
    default_layer,
)
from loci.editing.prompts import PromptSettings, TrainingPrompt, training_prompts
from loci.editing.remove import removed
from loci.editing.report import as_said, report_on, said_now, with_report
from loci.editing.solver import Covariance, NullSpace, Solution, response, solve
from loci.editing.statistics import key_moments
from loci.editing.targets import BARE, LEAN, Target, TargetSettings, find_targets

__all__ = [
    "BARE",
    "EMMET",
    "LEAN",
    "MEMIT",
    "METHODS",
    "ROME",
    "TOGETHER",
    "AlphaEdit",
    "Calibration",
    "Covariance",
    "EditData",
    "FineTune",
    "Joint",
    "JointSettings",
    "NullSpace",
    "PromptSettings",
    "Solution",
    "Target",
    "TargetSettings",
    "TrainingPrompt",
    "WeightUpdate",
    "as_said",
    "calibrate",
    "check_edits",
    "default_layer",
    "find_targets",
    "key_moments",
    "output_changes",
    "removed",
    "report_on",
    "response",
    "said_now",
    "solve",
    "training_prompts",
    "with_report",
]

__getattr__ = renamed(
    __name__,
    {"Line": "TrainingPrompt", "LineSettings": "PromptSettings", "lines_about": "training_prompts"},
)
