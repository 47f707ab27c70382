"""Which neurons hold a fact: integrated gradients on the MLP neurons at the subject's last token.

    Attr(layer, i) = (a_i − b_i) · ∫₀¹ ∂P(answer) / ∂x_i (b + α (a − b)) dα
        a = clean neurons of one layer, b = a baseline

Two baselines. "corrupted": b are the neurons of the run whose subject is noised, and P is that
run's. A layer's attributions then sum to what restoring its MLP there gives back: they take the
cell of the causal trace apart. "zero": b = 0 in the clean run, as in the knowledge-neuron
literature; they sum to P − P(layer silenced there), which is nothing where other layers or tokens
hold the answer too.

The integral is a Gauss-Legendre sum of `steps` gradients, averaged over the noise draws: a handful
of points do what hundreds of evenly spaced ones do, where P is smooth on the way. What it should
sum to is known (`expected`), so steps are doubled in a layer until it does: until all layers
together miss by at most `tolerance` of what all should sum to; where 16 × `steps` are not enough,
`warning` says so. Cost: steps × samples replays with gradients from each layer, more where they do
not close. Sources: Dai et al. 2022, section 3; Sundararajan et al. 2017.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.locating.asking import ask, probability
from loci.locating.corruption import Corruption
from loci.model import Model, Recording
from loci.model.answers import finite
from loci.model.given import fact_given
from loci.model.hooks import put_at
from loci.progress import Progress, silent
from loci.result import About, Result

Baseline = Literal["zero", "corrupted"]
TOLERANCE = 0.02
"""Attributions may miss their sum by this share of it,"""
LEAST = 0.01
"""or of this probability, where the sum itself is smaller."""
DOUBLINGS = 4
STEPS = 8


@dataclass(frozen=True)
class Neurons(Result):
    """Attributions of every MLP neuron at one token: [layer, neuron], in units of probability."""

    about: ClassVar[About] = About(
        "neurons behind an answer",
        "What the MLPs at the subject give to the answer, shared out among their "
        "neurons by integrated gradients.",
        "Blue bars speak for the answer, orange ones against it.",
        "neurons.neurons_figure",
    )

    model: str
    bos: bool
    prompt: str
    answer: str
    token: int
    baseline: Baseline
    scores: Float[Tensor, "layer neuron"]
    expected: Float[Tensor, " layer"]
    """P(answer) with the layer's neurons clean, minus with them at the baseline: what its scores
    should sum to.
    """
    steps: int = 0
    """Gradients on the path of the layer that took most."""
    tolerance: float = TOLERANCE

    def top(self, count: int) -> list[tuple[int, int, float]]:
        """The neurons with the largest scores: (layer, neuron, score)."""
        best = self.scores.flatten().topk(count)
        width = self.scores.shape[1]
        return [
            (i // width, i % width, s)
            for i, s in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    @property
    def completeness(self) -> tuple[float, float]:
        """(sum of all attributions, what it should be)."""
        return float(self.scores.sum()), float(self.expected.sum())

    @property
    def complete(self) -> bool:
        """Whether the layers' sums miss what they should be by no more than the tolerance."""
        missed = (self.scores.double().sum(1) - self.expected.double()).abs().sum()
        return float(missed) <= allowed(self.expected, self.tolerance)

    @property
    def warning(self) -> str | None:
        """A caution where the sums do not close; None where they do."""
        total, expected = self.completeness
        return None if self.complete else unclosed(total, expected, self.steps, self.tolerance)

    def summary(self) -> tuple[str, ...]:
        total, expected = self.completeness
        ten = sum(score for *_, score in self.top(10))
        doubt = f" Mind the warning: {self.warning}." if self.warning else ""
        return (
            f"The ten strongest of {self.scores.numel():,} neurons hold {ten:+.2f} of {total:+.2f}"
            f" (expected {expected:+.2f}).{doubt}",
        )

    def to_dict(self, count: int = 20) -> dict[str, Any]:
        total, expected = self.completeness
        return {
            "schema": "loci.neurons/1",
            "model": self.model,
            "bos": self.bos,
            "prompt": self.prompt,
            "answer": self.answer,
            "token": self.token,
            "baseline": self.baseline,
            "neurons": [
                {"layer": layer, "neuron": i, "score": score} for layer, i, score in self.top(count)
            ],
            "completeness": {"sum": total, "expected": expected},
            "steps": self.steps,
            "tolerance": self.tolerance,
            "complete": self.complete,
        }


@torch.enable_grad()
def neuron_attribution(
    model: Model,
    fact: Fact | str,
    *,
    baseline: Baseline = "corrupted",
    steps: int = STEPS,
    tolerance: float = TOLERANCE,
    samples: int = 10,
    noise: float = 3.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Neurons:
    """Attribute the answer to the neurons of every layer at the last subject token, by integrated
    gradients.

        cells = loci.neuron_attribution(model, fact)
        cells.top(10)                                   # [(layer, neuron, share of P(answer)), …]

    Args:
        fact: what is asked, or a prompt that names one known subject.
        baseline: where paths start: "corrupted" (the subject hidden by noise) or "zero".
        steps: points on each path at first; up to 16 times as many where attributions do not add
            up.
        tolerance: share of their sum by which they may miss it.
        samples, noise, seed: of the corruption, as in `trace`.

    Returns: `Neurons`: `scores` [layer, neuron], `token`, `completeness` (what they sum to, and
    what they should), `top`, `steps`, `warning`. Cost: `steps` runs forward and back a layer.
    Raises `FactError` for an unknown baseline or a tolerance of 0.
    """
    fact = fact_given(model, fact)
    if baseline not in get_args(Baseline):
        raise FactError(f"there is no baseline {baseline!r}: {', '.join(get_args(Baseline))}")
    if steps < 1 or not tolerance > 0:
        raise FactError(
            f"steps are 1 or more and a tolerance is above 0, not {steps} and {tolerance}"
        )
    asked, points = ask(model, fact), model.names("mlp_act")
    token = asked.subject[1] - 1
    with model.watch(*points) as clean:
        run = model.record(asked.ids, past=True, last=len(asked.targets))
    start = {point: torch.zeros_like(clean[point][:, token]) for point in points}
    if baseline == "corrupted":
        hidden = Corruption("noise", noise, samples, seed).edit(model, fact, asked.subject)
        with model.patched({"embed": hidden}), model.watch(*points) as corrupted:
            run = model.record(asked.ids.expand(samples, -1), past=True, last=len(asked.targets))
        start = {point: corrupted[point][:, token] for point in points}
    finite(run.logits, model)

    paths = [
        _Path(run, layer, token, asked.targets, start[point], clean[point][:, token])
        for layer, point in enumerate(points)
    ]
    differences = list[float]()
    for path in paths:
        differences.append(path.difference())
        progress(1, 2 * model.n_layers)
    expected = torch.tensor(differences)
    share = allowed(expected, tolerance) / max(1, len(paths))
    scores, most = [], steps
    for path, total in zip(paths, expected.tolist(), strict=True):
        attributions, taken = path.closed(steps, total, share)
        scores.append(attributions)
        most = max(most, taken)
        progress(1, 2 * model.n_layers)
    return Neurons(
        model.name,
        model.with_bos,
        fact.text,
        fact.answer,
        token,
        baseline,
        torch.stack(scores),
        expected,
        most,
        tolerance,
    )


def allowed(expected: Float[Tensor, " layer"], tolerance: float) -> float:
    """How far the layers' sums may be off, all together."""
    return tolerance * max(abs(float(expected.sum())), LEAST)


def unclosed(total: float, expected: float, steps: int, tolerance: float) -> str:
    """The warning where attributions do not add up."""
    return (
        f"attributions sum to {total:.3f} where they should sum to {expected:.3f}: {steps} steps do"
        f" not close them, layer by layer, to {tolerance:.0%}; read the order of the neurons, not"
        " their sizes"
    )


@dataclass(frozen=True)
class _Path:
    """The straight line from a layer's baseline neurons to the clean ones,
    at one token of one run.
    """

    run: Recording
    layer: int
    token: int
    targets: Tensor
    start: Float[Tensor, "sample d_mlp"]
    end: Float[Tensor, "1 d_mlp"]

    def closed(
        self, steps: int, expected: float, allowed: float
    ) -> tuple[Float[Tensor, " d_mlp"], int]:
        """Attributions whose sum is as expected, and the steps that it took; or those of the most
        steps.
        """
        for doubling in range(DOUBLINGS + 1):
            attributions, taken = self.attributions(steps << doubling, steps), steps << doubling
            if abs(float(attributions.double().sum()) - expected) <= allowed:
                break
        return attributions, taken

    def attributions(self, steps: int, batch: int) -> Float[Tensor, " d_mlp"]:
        """(a − b) times the integral of the gradients, from so many points of the way, a batch of
        them at a time.
        """
        nodes, weights = (torch.from_numpy(part).to(self.start) / 2 for part in leggauss(steps))
        total = torch.zeros_like(self.start)
        for some, weight in zip((nodes + 0.5).split(batch), weights.split(batch), strict=True):
            along = (self.start + some[:, None, None] * (self.end - self.start)).requires_grad_()
            (gradients,) = torch.autograd.grad(self.probabilities(along).sum(), along)
            total += (weight[:, None, None] * gradients).sum(0)
        return ((self.end - self.start) * total).sum(0).float().cpu()

    @torch.no_grad()
    def difference(self) -> float:
        low, high = self.probabilities(torch.stack([self.start, self.end.expand_as(self.start)]))
        return float(high - low)

    def probabilities(self, neurons: Float[Tensor, "step sample d_mlp"]) -> Float[Tensor, " step"]:
        """P(answer), averaged over the samples, with these neurons put in: the positions before
        theirs are as recorded.
        """
        model, last = self.run.model, len(self.targets)
        rows = tuple(range(len(self.start))) * len(neurons)
        stream = self.run.resid_pre(self.layer)[:, self.token :].repeat(len(neurons), 1, 1)
        with model.patched(
            {f"mlp_act.{self.layer}": put_at(neurons.flatten(0, 1), slice(None), 0)}
        ):
            stream = self.run.step(self.layer, stream, self.token, rows)
        for layer in range(self.layer + 1, model.n_layers - 1):
            stream = self.run.step(layer, stream, self.token, rows)
        if self.layer < model.n_layers - 1:
            stream = self.run.finish(stream, self.token, last, rows)
        return probability(
            model.unembed(stream[:, -last:]).unflatten(0, neurons.shape[:2]), self.targets
        )
