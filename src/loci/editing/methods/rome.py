"""ROME: one fact, one layer, hit exactly.

    Δ = r (C⁻¹ k)ᵀ / (kᵀ C⁻¹ k)        the least ‖Δ C^½‖ with Δ k = r

k [d_mlp] is the subject's key, r [d_model] what the MLP's output should gain there, C [d_mlp,
d_mlp] the second moment of the layer's keys over text: what all other keys get is as little as it
can be.
Source: Meng et al. 2022, "Locating and editing factual associations in GPT", equation 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from loci.editing.methods.emmet import EMMET
from loci.errors import EditError
from loci.facts import Fact


@dataclass(frozen=True)
class ROME(EMMET):
    """Rank-one model editing, which is EMMET of one fact; the default for one."""

    name: ClassVar[str] = "rome"

    def check(self, facts: Sequence[Fact]) -> None:
        if len(facts) > 1:
            raise EditError("rome edits one fact at a time: use emmet, memit or joint for several")
