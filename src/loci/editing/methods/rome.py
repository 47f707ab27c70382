"""ROME: one fact, one layer, hit exactly.

    Δ = r (M k)ᵀ / (kᵀ M k)        M = (C + N)⁻¹, the least ‖Δ M^−½‖ with Δ k = r

k [d_mlp] is the subject's key, r [d_model] what the MLP's output should gain there, C [d_mlp,
d_mlp] the second moment of the layer's keys over text: what all other keys get is as little as it
can be. N is that of the keys of other subjects in the edit's question, at the subject
(`retain_prompts`): text seldom names those, so C alone does not spare them. With `near` 0 it is as
published.
Source: Meng et al. 2022, "Locating and editing factual associations in GPT", equation 2.
"""

from dataclasses import dataclass
from typing import ClassVar

from loci.editing.data import EditData
from loci.editing.methods.emmet import EMMET
from loci.editing.neighbours import retain_prompts
from loci.editing.prompts import TrainingPrompt
from loci.errors import EditError
from loci.model import Model


@dataclass(frozen=True)
class ROME(EMMET):
    """Rank-one model editing, which is EMMET of one fact; the default for one."""

    name: ClassVar[str] = "rome"

    near: int = 64
    """most retain prompts whose keys the change is to miss; 0: none, as published"""

    def spared(self, model: Model, data: EditData) -> list[TrainingPrompt]:
        if not self.near:
            return []
        return retain_prompts(model, data.facts, data.text, most=self.near, seed=data.seed)

    def check(self, facts: int) -> None:
        if facts > 1:
            raise EditError("rome edits one fact at a time: use emmet, memit or joint for several")
