"""MEMIT: several facts by least squares, over one layer or a few.

    Δ = R Kᵀ (λ C + K Kᵀ)⁻¹        minimises λ ‖Δ C^½‖² + ‖Δ K − R‖²

K [d_mlp, n] are the subjects' keys, R [d_model, n] what the MLP's output should gain at each, λ = slack · the keys' mean response
kᵀ C⁻¹ k. Slack trades the edits for the text: at 0 it is EMMET, at 1 half of a lone edit is spared. Over layers l₁ … l_m the i-th
takes 1 / (m − i + 1) of what is still missing at the last.
Source: Meng et al. 2023, "Mass-editing memory in a transformer", equation 14; the published λ is a fixed 15,000.
"""

from dataclasses import dataclass
from typing import ClassVar

from loci.editing.methods.closed_form import ClosedForm
from loci.editing.solver import Covariance, Metric
from loci.editing.statistics import Moment


@dataclass(frozen=True)
class MEMIT(ClosedForm):
    """Mass-editing memory in a transformer."""

    name: ClassVar[str] = "memit"
    slack: float | None = None
    """how far residuals may be missed to spare the text; None: .03, or the best for some of the facts"""
    ridge: float = 1e-4
    """added to C, in units of its mean diagonal"""

    def metric(self, C: Moment) -> Metric:
        return Covariance.of(C, self.ridge)

    @property
    def spared(self) -> float | None:
        return self.slack

    def _default_slack(self) -> float:
        return 0.03
