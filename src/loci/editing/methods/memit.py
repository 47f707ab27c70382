"""MEMIT: several facts by least squares, over one layer or a few.

    Δ = R Kᵀ (λ C + K Kᵀ)⁻¹        minimises λ ‖Δ C^½‖² + ‖Δ K − R‖²

K [d_mlp, n] are the subjects' keys, R [d_model, n] what the MLP's output should gain at each, λ =
lam · the keys' mean response kᵀ C⁻¹ k. It trades the edits for the text: at 0 it is EMMET, at
1 half of a lone edit is spared. Over layers l₁ … l_m the i-th takes 1 / (m − i + 1) of what is
still missing at the last.
Source: Meng et al. 2023, "Mass-editing memory in a transformer", equation 14; the published λ is a
fixed 15,000.
"""

from dataclasses import dataclass
from typing import ClassVar

from loci.deprecated import renamed_fields
from loci.editing.methods.emmet import EMMET


@renamed_fields(slack="lam")
@dataclass(frozen=True)
class MEMIT(EMMET):
    """Mass-editing memory in a transformer, which is EMMET at λ = 0."""

    name: ClassVar[str] = "memit"
    usual_lam: ClassVar[float] = 0.03
    lam: float | None = None
    """how far residuals may be missed to spare the text; None: .03, or the best for some of the
    facts
    """
