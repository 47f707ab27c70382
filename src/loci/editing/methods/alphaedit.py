"""AlphaEdit: least squares in the directions that text uses least.

    Δ = R Kᵀ P (K Kᵀ P + λ I)⁻¹        P: onto the null space of C

P [d_mlp, d_mlp] keeps the directions that together hold at most a tenth of the text's keys' square
(`NullSpace`), so what is written there, text hardly feels. Keys K [d_mlp, n], residuals R [d_model,
n], and λ as in MEMIT.
Source: Fang et al. 2025, "AlphaEdit: null-space constrained knowledge editing", equation 12; the
published cut is a fixed eigenvalue.
"""

from dataclasses import dataclass
from typing import ClassVar

from loci.deprecated import renamed_fields
from loci.editing.methods.closed_form import ClosedForm
from loci.editing.solver import Metric, NullSpace
from loci.editing.statistics import Moment


@renamed_fields(slack="lam")
@dataclass(frozen=True)
class AlphaEdit(ClosedForm):
    """Null-space constrained editing."""

    name: ClassVar[str] = "alphaedit"
    usual_lam: ClassVar[float] = 0.1
    lam: float | None = None
    """how far residuals may be missed; None: .1, or the best for some of the facts"""
    share: float = 0.1
    """of the text's keys' square that the free directions may hold together"""

    def metric(self, C: Moment) -> Metric:
        return NullSpace.of(C, self.share)
