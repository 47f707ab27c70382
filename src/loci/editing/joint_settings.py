"""Settings of the joint search, and what it finds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.deprecated import renamed_fields
from loci.editing.objective import EditObjective
from loci.editing.prompts import PromptSettings, TrainingPrompt
from loci.editing.statistics import output_size
from loci.linalg import lstsq, solve_square
from loci.model import Model
from loci.patches import Factors

Moments = Mapping[int, Float[Tensor, "d_mlp d_mlp"]]

Weighted = tuple[TrainingPrompt, str, float]
"""A prompt, its term of the objective, and its weight there."""


@renamed_fields(lines="prompts")
@dataclass(frozen=True)
class JointSettings(PromptSettings):
    """How the joint search goes. All sizes are in nats of KL, or relative to layers' outputs."""

    contexts: int = 3
    own: int = 8
    steps: int = 30
    """steps, while all facts are in each"""
    max_step: float = 0.4
    """longest step of `joint`: the root of twice the KL on text that it may cost, in nats, times
    the root of the new facts' share among all
    """
    lr: float = 0.05
    """Adam's step size for `finetune`, in units of the layers' mean ‖W C^½‖ / √(d_model · n), and
    of the root of the new facts' share among all
    """
    curvature_tokens: int = 2_000
    """tokens of text over which `joint` measures how much each direction of an output matters"""
    damping: float = 0.1
    """added to that curvature, in units of its mean"""
    kl: float = 2.0
    """weight of the retain prompts"""
    text: float = 6.0
    """weight of the text to begin with"""
    drift: float = 0.015
    """KL on text, in nats, at which its weight stays as it is, for up to 100 edits; it grows with
    the root of their number
    """
    decay: float = 0.5
    """weight of the change's size"""
    ridge: float = 1.0
    """added to each C, in units of its mean diagonal"""
    facts: int = 128
    """most facts in a step"""
    prompts: int = 2
    """most prompts of each kind of a fact in a step"""
    texts: int = 96
    """most texts in a step; a few facts need fewer"""
    text_tokens: int = 16
    """and about how many tokens for each of them: of texts that are longer than sentences fewer are
    drawn
    """
    neighbours: float = 12.0
    """weight of the retain prompts to begin with: the edited questions about other subjects"""
    near: int = 64
    """most retain prompts in a step"""
    retained: int = 192
    """most retain prompts of all questions together"""

    @property
    def objective(self) -> EditObjective:
        """The objective at the start; the weights of neighbours and text follow their KL."""
        return EditObjective(
            retain=self.kl, neighbours=self.neighbours, text=self.text, size=self.decay
        )

    def steps_for(self, new: int) -> int:
        """Steps for so many facts: more where not all are in each, but not in proportion, as facts
        share what they learn to keep.
        """
        return math.ceil(self.steps * math.sqrt(max(1.0, new / self.facts)))

    def among(self, count: int) -> "JointSettings":
        """The same with the drift that so many edits may have."""
        return replace(self, drift=self.drift * math.sqrt(max(1.0, count / 100)))


class JointChange(NamedTuple):
    """The changes, and what was measured on the way."""

    factors: dict[str, Factors]
    numbers: dict[str, Any]


class LayerChange(NamedTuple):
    """One layer's change U R Q, of which R is sought."""

    Q: Float[Tensor, "n d_mlp"]
    R: Float[Tensor, "d_model n"]
    size: float
    """The scale of ‖R‖: ‖W C^½‖, the norm of the layer's outputs over text; 1 once U is known."""
    U: Float[Tensor, "d_model d_model"] | None = None
    """The whitening of the output (`curvature`); None: 1."""

    @property
    def left(self) -> Float[Tensor, "d_model n"]:
        """U R."""
        return self.R if self.U is None else self.U @ self.R

    def whitened(self, U: Float[Tensor, "d_model d_model"]) -> "LayerChange":
        """The same change, in coordinates in which KL on text is ½ ‖R‖²."""
        R = solve_square(U.double().cpu(), self.left.detach().double().cpu(), "the whitening")
        device = self.R.device
        return LayerChange(self.Q, R.float().to(device).requires_grad_(), 1.0, U.float().to(device))

    @classmethod
    def of(
        cls, model: Model, layer: int, C: Tensor, Q: Float[Tensor, "n d_mlp"], start: Factors | None
    ) -> "LayerChange":
        """The change to begin with, whose rows Q spans, or none."""
        R = torch.zeros(model.d_model, len(Q), dtype=torch.float64)
        if start is not None:
            R = start.left.double() @ lstsq(Q.T, start.right.T, "the change to begin with").T
        return cls(
            Q.float().to(model.device),
            R.float().to(model.device).requires_grad_(),
            output_size(model, layer, C),
        )
