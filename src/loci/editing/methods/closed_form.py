"""The base of ROME, EMMET, MEMIT and AlphaEdit: a residual for each fact, and one solve a layer.

    W_down.l ← W_down.l + Δ_l        Δ_l = R (Kᵀ M K + λ I)⁻¹ Kᵀ M        (`solver`)

1. Key k: the MLP's neurons at the last subject token, averaged over a fact's prompts, wherever a
   key is needed (bare prompts here and averages there make updates explode: Gupta et al. 2024,
   "Rebuilding ROME").
2. Residual r: what the MLP's output should gain there (`find_targets`).
3. Change: `solve` with the metric M of the method, over the keys K and residuals R of all facts.
Over several layers each takes its share of what is still missing at the last of them (Meng et al.
2023, MEMIT). λ = lam · the keys' mean response kᵀ M k, so that a value means the same in every
model: at 1 half of a lone edit is spared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from loci.editing.calibration import (
    Calibration,
    Sample,
    calibrate,
    candidates,
    is_embedded,
    screened,
)
from loci.editing.check import check_layers
from loci.editing.data import EditData, WeightUpdate
from loci.editing.neighbours import asked, near_moments, special_moments
from loci.editing.prompts import TrainingPrompt, subject_reads, training_prompts
from loci.editing.solver import Metric, Solution, response, solve
from loci.editing.statistics import Moment
from loci.editing.targets import LEAN, TargetSettings, find_targets
from loci.model import Model
from loci.patches import Factors, Patch, applied
from loci.patches.factors import joined


@dataclass(frozen=True)
class ClosedForm:
    """One solve a layer. A method says its metric and, where it has one, its λ."""

    name: ClassVar[str]
    search: TargetSettings | None = None
    """How residuals are sought; None: thoroughly for one fact, leanly for several."""
    layers: tuple[int, ...] | None = None
    """The layers to edit; None: the layer that is best for some of the facts (`calibrate`)."""

    usual_lam: ClassVar[float] = 0.0
    """Where neither the user nor a calibration says another; 0: every residual is hit exactly."""

    def metric(self, C: Moment) -> Metric:
        """M of a layer, from the second moment of its keys over text."""
        raise NotImplementedError

    @property
    def chosen_lam(self) -> float | None:
        """The user's λ; None for methods that hit exactly and have no such setting."""
        return getattr(self, "lam", self.usual_lam)

    def check(self, facts: int) -> None:
        """Raise `EditError` for a number of facts that the method does not take."""

    def spared(self, model: Model, data: EditData) -> list[TrainingPrompt]:
        """Retain prompts whose keys the change is to miss beside text's; by default none."""
        return []

    def _metrics(
        self, model: Model, moments: Mapping[int, Moment], near: Sequence[TrainingPrompt]
    ) -> dict[int, Metric]:
        """M of each layer, from C, or from C + N, N of the keys of retain prompts and of special
        tokens.
        """
        if not near:
            return {layer: self.metric(C) for layer, C in moments.items()}
        others, special = (
            near_moments(model, near, list(moments)),
            special_moments(model, list(moments)),
        )
        return {
            layer: self.metric(C.double() + others[layer] + special[layer])
            for layer, C in moments.items()
        }

    def fit(self, model: Model, data: EditData) -> WeightUpdate:
        """Find the change.

        Args:
            model: an open model; it is left as it was.
            data: the facts and what is retained.

        Returns: the change of `layers`, added to an earlier patch's.
        Raises: `EditError` where no layer takes the edit.
        Cost: residuals by `find_targets`; a pass over text for moments that are not kept; with
        layers unsaid, some trials.
        """
        self.check(len(data.facts))
        with applied(model, data.after):
            near = self.spared(model, data)
            layers, lam, moments, tried = self._placed(model, data, near)
            metrics = self._metrics(model, {layer: moments[layer] for layer in layers}, near)
            factors, numbers = self._solved(model, data, metrics, lam)
            numbers |= {"retained": asked(model, near)} if near else {}
        before = data.after.factors if data.after is not None else {}
        numbers |= {"calibration": tried.to_dict()} if tried is not None else {}
        return WeightUpdate(self.name, summed(before, factors), tuple(layers), moments, numbers)

    def _placed(
        self, model: Model, data: EditData, near: Sequence[TrainingPrompt]
    ) -> tuple[list[int], float, dict[int, Moment], Calibration | None]:
        """Layers, lam, moments of all layers that were looked at, and the trials, where there
        were any.
        """
        open_to = (
            check_layers(model, self.layers)
            if self.layers is not None
            else open_layers(model, data)
        )
        sample = None
        if self.layers is None and len(open_to) > 1:
            sample = Sample.of(model, data.facts, data.text, data.seed)
            open_to = list(screened(model, open_to, sample))
        moments = data.moments_of(model, open_to)
        if sample is None:
            return (
                open_to,
                self.usual_lam if self.chosen_lam is None else self.chosen_lam,
                moments,
                None,
            )
        metrics = self._metrics(model, {layer: moments[layer] for layer in open_to}, near)
        tried = calibrate(model, data.facts, self.name, metrics, data.text.texts, sample=sample)
        return (
            [tried.best.layer],
            tried.best.lam if self.chosen_lam is None else self.chosen_lam,
            moments,
            tried,
        )

    def _solved(
        self, model: Model, data: EditData, metrics: dict[int, Metric], lam: float
    ) -> tuple[dict[str, Factors], dict[str, Any]]:
        """The change of each layer, from the lowest to the highest, each seeing those before it."""
        layers, last = list(metrics), max(metrics)
        settings = self.search or replace(
            TargetSettings() if len(data.facts) == 1 else LEAN, seed=data.seed
        )
        prompts = training_prompts(model, data.facts, settings, data.text)
        targets = find_targets(model, data.facts, last, settings, prompts, progress=data.progress)
        wanted = [[prompt for prompt in own if prompt.answer] for own in prompts]
        plain = replace(settings, essence=0)
        held = [
            [prompt for prompt in own if prompt.answer]
            for own in training_prompts(model, data.earlier, plain, data.text)
        ]
        wished = torch.cat(
            [
                torch.zeros(model.d_model, len(held)),
                torch.stack([target.delta for target in targets], 1).cpu(),
            ],
            1,
        )
        solutions: dict[str, Solution] = {}
        start: Tensor | None = None
        for done, layer in enumerate(layers):
            so_far = {name: solution.factors for name, solution in solutions.items()}
            with applied(
                model,
                Patch(self.name, model.fingerprint, model.name, so_far, ()) if so_far else None,
            ):
                K, stands = subject_reads(model, [*held, *wanted], layer, last)
            start = stands if start is None else start
            missing = wished - (stands - start)
            metric = metrics[layer]
            solutions[f"W_down.{layer}"] = solve(
                metric, K, missing / (len(layers) - done), lam * response(metric, K)
            )
        return {name: solution.factors for name, solution in solutions.items()}, {
            "slack": lam,
            "target_probability": [target.probability for target in targets],
            "target_steps": [target.steps for target in targets],
            "condition": [solution.condition for solution in solutions.values()],
            "residual": [solution.residual for solution in solutions.values()],
        }


def open_layers(model: Model, data: EditData) -> list[int]:
    """The layers among which one is chosen, where none is said."""
    if is_embedded(model):
        return [default_layer(model)]
    return [layer for layer in candidates(model) if not data.moments or layer in data.moments]


def default_layer(model: Model) -> int:
    """Below a fifth of the depth: 5 in GPT-J's 28 layers and Llama-3-8B's 32, as published; GPT-2
    XL's published layer is later.

    A rule of thumb, not a finding; calibration finds the same for the embedded model.
    """
    return max(0, round(model.n_layers / 5) - 1)


def summed(one: Any, other: Any) -> dict[str, Factors]:
    """Two changes as one, weight by weight."""
    return {
        name: joined([part[name] for part in (one, other) if name in part])
        for name in {**one, **other}
    }
