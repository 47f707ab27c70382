"""Joint and FineTune: all layers searched together in the running model (`loci.editing.joint`).

    Joint     W_down.l ← W_down.l + R_l Q_l        rows Q_l in the span of the facts' keys, R_l
              sought
    FineTune  every entry of the down projections; the baseline

Source: the objective and its terms stand in `loci.editing.joint`.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from loci.editing.check import check_layers
from loci.editing.data import EditData, WeightUpdate, unsaid
from loci.editing.joint import PartsOf, find_jointly, finetune_parts, joint_parts
from loci.editing.joint_settings import JointSettings
from loci.model import Model
from loci.patches import applied

TEXT_TOKENS = 200_000
"""Of background text that is retained."""


@dataclass(frozen=True)
class Joint:
    """Residuals of all facts and layers searched together; the default for several facts."""

    name: ClassVar[str] = "joint"
    parts_of: ClassVar[PartsOf] = staticmethod(joint_parts)
    whitened: ClassVar[bool] = True
    search: JointSettings | None = None
    """the search's steps, weights and limits; None: the defaults"""
    layers: tuple[int, ...] | None = None
    """what is edited; None: all"""

    def fit(self, model: Model, data: EditData) -> WeightUpdate:
        """Find the change, from the base on: what an earlier patch does at these layers is where
        the search starts.

        Args:
            model: an open model; it is left as it was.
            data: the facts and what is retained.

        Raises: `EditError` where the search diverges.
        Cost: `search.steps` forward and backward passes, and a pass over text for moments that are
        not kept.
        """
        layers = check_layers(
            model, self.layers if self.layers is not None else range(model.n_layers)
        )
        with applied(model, data.after):
            moments = data.moments_of(model, layers)
        before = dict(data.after.factors) if data.after is not None else {}
        start = {
            name: before.pop(name)
            for name in [f"W_down.{layer}" for layer in layers]
            if name in before
        }
        rest = replace(data.after, factors=before) if data.after is not None and before else None
        with applied(model, rest):
            found = find_jointly(
                model,
                data.facts,
                {layer: moments[layer] for layer in layers},
                unsaid(data.text.first(model, TEXT_TOKENS), [*data.earlier, *data.facts]),
                self.search or JointSettings(seed=data.seed),
                type(self).parts_of,
                whiten=self.whitened,
                background=data.text,
                earlier=data.earlier,
                start=start,
                progress=data.progress,
            )
        return WeightUpdate(
            self.name, {**before, **found.factors}, tuple(layers), moments, found.numbers
        )


@dataclass(frozen=True)
class FineTune(Joint):
    """All entries of the down projections, breadth first in mini-batches; the baseline."""

    name: ClassVar[str] = "finetune"
    parts_of: ClassVar[PartsOf] = staticmethod(finetune_parts)
    whitened: ClassVar[bool] = False
