"""EMMET: several facts, one layer, all hit exactly.

    Δ = R (Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹        the least ‖Δ C^½‖ with Δ K = R

K [d_mlp, n] are the subjects' keys, R [d_model, n] what the MLP's output should gain at each. With
one fact it is ROME. Subjects with nearly the same key are torn apart, so it is poor for a hundred
facts of one relation: MEMIT misses a little instead.
Source: Gupta et al. 2024, "A unified framework for model editing", equation 11.
"""

from dataclasses import dataclass
from typing import ClassVar

from loci.editing.methods.closed_form import ClosedForm
from loci.editing.solver import Covariance, Metric
from loci.editing.statistics import Moment


@dataclass(frozen=True)
class EMMET(ClosedForm):
    """Equality-constrained mass editing."""

    name: ClassVar[str] = "emmet"
    ridge: float = 1e-4
    """added to C, in units of its mean diagonal"""

    def metric(self, C: Moment) -> Metric:
        return Covariance.of(C, self.ridge)
