"""Which neurons hold a fact: integrated gradients on the MLP neurons at the subject's last token.

    Attr(layer, i) = a_i · ∫₀¹ ∂P(answer) / ∂a_i (α·a) dα        a = neurons of one layer at the last subject token

One layer at a time is scaled from 0 to its clean value; the integral is a midpoint sum of `steps` gradients. Completeness is the
check: the attributions of a layer sum to P(a) − P(0), the effect of silencing the layer there.
Cost: `steps` replays with gradients from each layer, in one batch. Source: Dai et al. 2022, section 3; Sundararajan et al. 2017.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.facts import Fact
from loci.model import Model
from loci.model.answers import with_answer
from loci.progress import Progress, silent


@dataclass(frozen=True)
class Neurons:
    """Attributions of every MLP neuron at one token: [layer, neuron], in units of probability."""

    model: str
    prompt: str
    answer: str
    token: int
    scores: Float[Tensor, "layer neuron"]
    expected: Float[Tensor, " layer"]
    """P(answer) minus P(answer with the layer's neurons silenced at that token)."""

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
            "prompt": self.prompt,
            "answer": self.answer,
            "token": self.token,
            "neurons": [{"layer": layer, "neuron": i, "score": score} for layer, i, score in self.top(count)],
            "completeness": {"sum": total, "expected": expected},
        }


@torch.enable_grad()
def neurons(model: Model, fact: Fact, *, steps: int = 32, progress: Progress = silent) -> Neurons:
    """Attribute the answer to the neurons of every layer at the last subject token."""
    tokens, answer = with_answer(model, fact.text, fact.answer)
    targets = torch.tensor(tokens.ids[answer[0] : answer[1]], device=model.device)
    token = tokens.span(fact.subject_span)[1] - 1
    points = [f"mlp_act.{layer}" for layer in range(model.n_layers)]
    with model.watch(*points) as clean:
        run = model.record(model.ids([tokens.ids[: answer[1] - 1]]))

    # midpoints for the integral, and its two ends for the check
    alphas = torch.cat([(torch.arange(steps) + 0.5) / steps, torch.tensor([0.0, 1.0])]).to(model.W_U)
    scores, expected = [], []
    for layer, point in enumerate(points):
        at = clean[point][0, token].detach()
        scaled = (alphas[:, None] * at).requires_grad_()

        def put(act: Tensor, scaled: Tensor = scaled) -> Tensor:
            act = act.clone()
            act[:, token] = scaled
            return act

        with model.patched({point: put}):
            logits = run.replay(layer, run.resid_pre(layer).repeat(len(alphas), 1, 1), last=len(targets))
        logprobs = logits.float().log_softmax(-1).gather(-1, targets.expand(len(alphas), -1)[..., None])[..., 0]
        probabilities = logprobs.sum(-1).exp()
        (gradients,) = torch.autograd.grad(probabilities[:steps].sum(), scaled)
        scores.append((at * gradients[:steps].mean(0)).float().cpu())
        expected.append((probabilities[-1] - probabilities[-2]).detach().float().cpu())
        progress(1, model.n_layers)
    return Neurons(model.name, fact.text, fact.answer, token, torch.stack(scores), torch.stack(expected))
