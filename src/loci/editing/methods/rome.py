"""ROME: one fact, one layer, hit exactly.

    Δ = r (C⁻¹ k)ᵀ / (kᵀ C⁻¹ k)        the least ‖Δ C^½‖ with Δ k = r

k [d_mlp] is the subject's key, r [d_model] what the MLP's output should gain there, C [d_mlp, d_mlp] the second moment of the
layer's keys over text: what all other keys get is as little as it can be.
Source: Meng et al. 2022, "Locating and editing factual associations in GPT", equation 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from loci.editing.methods.closed_form import ClosedForm
from loci.editing.solver import Covariance, Metric
from loci.editing.statistics import Moment
from loci.errors import EditError
from loci.facts import Fact


@dataclass(frozen=True)
class ROME(ClosedForm):
    """Rank-one model editing; the default for one fact."""

    name: ClassVar[str] = "rome"
    ridge: float = 1e-4
    """added to C, in units of its mean diagonal"""

    def metric(self, C: Moment) -> Metric:
        return Covariance.of(C, self.ridge)

    def check(self, facts: Sequence[Fact]) -> None:
        if len(facts) > 1:
            raise EditError("rome edits one fact at a time: use emmet, memit or joint for several")
