"""Which neurons hold a fact: integrated gradients on the MLP neurons at the subject's last token.

    Attr(layer, i) = (a_i − b_i) · ∫₀¹ ∂P(answer) / ∂x_i (b + α (a − b)) dα        a = clean neurons of one layer, b = a baseline

Two baselines. "corrupted": b are the neurons of the run whose subject is noised, and P is that run's. A layer's attributions then sum
to what restoring its MLP there gives back: they take the cell of the causal trace apart. "zero": b = 0 in the clean run, as in the
knowledge-neuron literature; they sum to P − P(layer silenced there), which is nothing where other layers or tokens hold the answer too.

The integral is a midpoint sum of `steps` gradients, averaged over the noise draws; the sums are checked (`expected`).
Cost: steps × samples replays with gradients from each layer. Sources: Dai et al. 2022, section 3; Sundararajan et al. 2017.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
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
from loci.result import Result

Baseline = Literal["corrupted", "zero"]


@dataclass(frozen=True)
class Neurons(Result):
    """Attributions of every MLP neuron at one token: [layer, neuron], in units of probability."""

    model: str
    bos: bool
    prompt: str
    answer: str
    token: int
    baseline: Baseline
    scores: Float[Tensor, "layer neuron"]
    expected: Float[Tensor, " layer"]
    """P(answer) with the layer's neurons clean, minus with them at the baseline: what its scores should sum to."""

    def top(self, count: int) -> list[tuple[int, int, float]]:
        """The neurons with the largest scores: (layer, neuron, score)."""
        best = self.scores.flatten().topk(count)
        width = self.scores.shape[1]
        return [(i // width, i % width, s) for i, s in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    @property
    def completeness(self) -> tuple[float, float]:
        """(sum of all attributions, what it should be)."""
        return float(self.scores.sum()), float(self.expected.sum())

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
            "neurons": [{"layer": layer, "neuron": i, "score": score} for layer, i, score in self.top(count)],
            "completeness": {"sum": total, "expected": expected},
        }


@torch.enable_grad()
def neurons(
    model: Model,
    fact: Fact | str,
    *,
    baseline: Baseline = "corrupted",
    steps: int = 16,
    samples: int = 10,
    noise: float = 3.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Neurons:
    """Attribute the answer to the neurons of every layer at the last subject token, by integrated gradients.

        cells = loci.neurons(model, fact)
        cells.top(10)                                   # [(layer, neuron, share of P(answer)), …]

    Args:
        fact: what is asked, or a prompt that names one known subject.
        baseline: where paths start: "corrupted" (the subject hidden by noise) or "zero".
        steps: points on each path.
        samples, noise, seed: of the corruption, as in `trace`.

    Returns: `Neurons`: `scores` [layer, neuron], `token`, `completeness` (what they sum to, and what they should), `top`.
    Cost: `steps` runs forward and back a layer. Raises `FactError` for an unknown baseline.
    """
    fact = fact_given(model, fact)
    if baseline not in get_args(Baseline):
        raise FactError(f"there is no baseline {baseline!r}: {', '.join(get_args(Baseline))}")
    asked, points = ask(model, fact), model.names("mlp_act")
    token = asked.subject[1] - 1
    with model.watch(*points) as clean:
        run = model.record(asked.ids, last=len(asked.targets))
    start = {point: torch.zeros_like(clean[point][:, token]) for point in points}
    if baseline == "corrupted":
        with (
            model.patched({"embed": Corruption("noise", noise, samples, seed).edit(model, fact, asked.subject)}),
            model.watch(*points) as corrupted,
        ):
            run = model.record(asked.ids.expand(samples, -1), last=len(asked.targets))
        start = {point: corrupted[point][:, token] for point in points}
    finite(run.logits, model)

    scores, expected = [], []
    for layer, point in enumerate(points):
        path = _Path(run, layer, token, asked.targets, start[point], clean[point][:, token])
        scores.append(path.attributions(steps))
        expected.append(path.difference())
        progress(1, model.n_layers)
    return Neurons(model.name, model.with_bos, fact.text, fact.answer, token, baseline, torch.stack(scores), torch.tensor(expected))


@dataclass(frozen=True)
class _Path:
    """The straight line from a layer's baseline neurons to the clean ones, at one token of one run."""

    run: Recording
    layer: int
    token: int
    targets: Tensor
    start: Float[Tensor, "sample d_mlp"]
    end: Float[Tensor, "1 d_mlp"]

    def attributions(self, steps: int) -> Float[Tensor, " d_mlp"]:
        alphas = ((torch.arange(steps) + 0.5) / steps).to(self.start)
        along = (self.start + alphas[:, None, None] * (self.end - self.start)).requires_grad_()
        (gradients,) = torch.autograd.grad(self.probabilities(along).sum(), along)
        return ((self.end - self.start) * gradients.mean(0)).sum(0).float().cpu()

    @torch.no_grad()
    def difference(self) -> float:
        low, high = self.probabilities(torch.stack([self.start, self.end.expand_as(self.start)]))
        return float(high - low)

    def probabilities(self, neurons: Float[Tensor, "step sample d_mlp"]) -> Float[Tensor, " step"]:
        """P(answer), averaged over the samples, with these neurons put in."""
        put = put_at(neurons.flatten(0, 1), slice(None), self.token)
        resid = self.run.resid_pre(self.layer).repeat(len(neurons), 1, 1)
        with self.run.model.patched({f"mlp_act.{self.layer}": put}):
            logits = self.run.replay(self.layer, resid, last=len(self.targets))
        return probability(logits.unflatten(0, neurons.shape[:2]), self.targets)
