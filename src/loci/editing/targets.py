"""What an MLP should say at the subject instead: the δ to add to its output so that the new answer follows.

    min over δ   mean over the wanted lines of −log P(new answer) / tokens
               + kl · KL( before ‖ after )          mean over the kept lines, from the last subject token on
               + decay · ‖δ‖² / ‖x‖²                x: the residual stream there, behind the block
    subject to  ‖δ‖ ≤ clamp · ‖x‖

δ is added at the last subject token, in every line. Many facts are searched at once, each with its own step, limit and stop: `Scene`
says what a step computes, and a fact that is found leaves the batch.
Source: Meng et al. 2022, section 3.1 and appendix. Differences: sizes are relative to the stream, as in MEMIT, since an MLP's
own output may be small where the stream is not; the norm penalty is squared, so that it is smooth at 0; the published
essence, the next token at the subject in "{subject} is a", does not keep the subject's other facts, as sampled texts do; and own
phrasings of the question (`lines_about`) make δ hold in others than the user's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import kl_div

from loci.editing.lines import BUDGET, Line, LineSettings, lines_about, mean_reads
from loci.editing.scenes import Scene, Spots, scenes
from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model
from loci.progress import Progress, silent

SHRINK = 0.8
"""Facts that are found are left out of the batch once so few are left of it."""


@dataclass(frozen=True)
class TargetSettings(LineSettings):
    """How a target is searched. The defaults hold for models of any width: all limits are relative to the residual stream."""

    contexts: int = 2
    essence: int = 8
    own: int = 3
    steps: int = 25
    """most steps of Adam"""
    lr: float = 0.2
    """step size, in units of the norm of the stream divided by √d_model"""
    stop: float = 0.03
    """a fact is found when the mean negative log-probability per answer token is below this"""
    kl: float = 1.0
    """weight of the kept lines"""
    decay: float = 1e-3
    """weight of the norm penalty"""
    clamp: float = 2.0
    """largest ‖δ‖ in units of the norm of the stream"""


LEAN = TargetSettings(contexts=1, own=2, essence=3, lr=0.4, stop=0.1)
"""For hundreds of facts: a third of the lines, and a third of the steps."""


class Target(NamedTuple):
    """The key at the subject, averaged over the wanted lines, and the residual that the value should gain there."""

    key: Float[Tensor, " d_mlp"]
    delta: Float[Tensor, " d_model"]
    loss: float
    probability: float
    """Geometric mean over the wanted lines of P(new answer), with δ added."""
    steps: int


def find_targets(
    model: Model,
    facts: Sequence[Fact],
    layer: int,
    settings: TargetSettings | None = None,
    lines: Sequence[Sequence[Line]] | None = None,
    progress: Progress = silent,
) -> list[Target]:
    """Key and δ of each fact at one layer. Raises `EditError` where a fact has no new answer, or its search diverges."""
    settings = settings or TargetSettings()
    lines = lines_about(model, facts, settings) if lines is None else lines
    found: list[Target] = []
    for chosen in _chunks(lines):
        with model.frozen():
            found += _Search(model, [facts[i] for i in chosen], [lines[i] for i in chosen], layer, settings).run()
        progress(len(chosen), len(facts))
    return found


def _chunks(lines: Sequence[Sequence[Line]]) -> Iterator[list[int]]:
    """Facts whose lines fit one batch, in their order."""
    chunk: list[int] = []
    rows, width = 0, 0
    for i, own in enumerate(lines):
        longest = max(len(line.ids) for line in own)
        if chunk and (rows + len(own)) * max(width, longest) > BUDGET:
            yield chunk
            chunk, rows, width = [], 0, 0
        chunk.append(i)
        rows, width = rows + len(own), max(width, longest)
    yield chunk


class _Search:
    """One batch of facts: what is searched, and how far each fact has come."""

    def __init__(
        self, model: Model, facts: Sequence[Fact], lines: Sequence[Sequence[Line]], layer: int, settings: TargetSettings
    ) -> None:
        self.facts, self.settings = facts, settings
        self.tokens = [len(own[0].wanted) for own in lines]
        shares = [line for i, own in enumerate(lines) for line in _shares(i, own)]
        self.scenes = list(scenes(model, layer, shares))
        self.keys = _means(self.scenes, len(facts), [scene.keys for scene in self.scenes])
        self.scale = _means(self.scenes, len(facts), [scene.size for scene in self.scenes])
        self.delta = torch.zeros(len(facts), model.d_model, device=model.device)
        self.loss, self.nll, self.steps = (torch.zeros(len(facts), device=model.device) for _ in range(3))

    @torch.enable_grad()
    def run(self) -> list[Target]:
        settings = self.settings
        active = still = list(range(len(self.facts)))
        adam = _Adam(self.delta, settings.lr * self.scale / self.delta.shape[1] ** 0.5)
        parts = [part for scene in self.scenes for part in _Part.of(scene, active)]
        for step in range(settings.steps + 1):
            delta = self.delta.requires_grad_()
            nll, kl = (torch.stack(each).sum(0) for each in zip(*(part(delta) for part in parts), strict=True))
            loss = nll + settings.kl * kl + settings.decay * (delta / self.scale).square().sum(-1)
            self._note(still, step, loss.detach(), nll.detach())
            still = [i for i in still if nll[i] >= settings.stop]
            if not still or step == settings.steps:
                break
            (grad,) = torch.autograd.grad(loss[still].sum(), delta)
            self.delta = self._clamped(adam.step(delta.detach(), grad, still))
            if len(still) < SHRINK * len(active):
                active, parts = still, [smaller for part in parts for smaller in part.among(still)]
        return [
            Target(key, delta.detach(), float(loss), float((-nll * tokens).exp()), int(steps))
            for key, delta, loss, nll, tokens, steps in zip(
                self.keys, self.delta, self.loss, self.nll, self.tokens, self.steps, strict=True
            )
        ]

    def _note(self, still: list[int], step: int, loss: Tensor, nll: Tensor) -> None:
        for i in still:
            if not loss[i].isfinite():
                fact = self.facts[i]
                raise EditError(f"the search for {fact.text!r} → {fact.new_answer!r} diverged at step {step}")
        self.loss[still], self.nll[still], self.steps[still] = loss[still], nll[still], float(step)

    def _clamped(self, delta: Tensor) -> Tensor:
        longest = self.settings.clamp * self.scale
        shrunk: Tensor = delta * (longest / delta.norm(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
        return shrunk


def _shares(fact: int, lines: Sequence[Line]) -> Iterator[Line]:
    """The lines of one fact, with weights that sum to 1 for each kind."""
    total = {kind: sum(line.weight for line in lines if bool(line.wanted) == kind) for kind in (True, False)}
    for line in lines:
        yield line._replace(fact=fact, weight=line.weight / total[bool(line.wanted)])


def _means(found: Sequence[Scene], facts: int, values: Sequence[Float[Tensor, "line width"]]) -> Float[Tensor, "fact width"]:
    """What is read at the subject, averaged over the wanted lines of each fact."""
    sums = []
    for scene, read in zip(found, values, strict=True):
        weights = torch.tensor([line.weight if line.wanted else 0.0 for line in scene.lines], device=scene.facts.device)
        sums.append(torch.zeros(facts, read.shape[1], device=read.device).index_add(0, scene.facts, weights[:, None] * read))
    return torch.stack(sums).sum(0)


@dataclass
class _Part:
    """One scene's part of the objective for some facts: which lines are run, where they are read, what was said there."""

    scene: Scene
    rows: list[int]
    spots: Spots
    before: Float[Tensor, "kept d_vocab"] | None = None
    """Log-probabilities at the kept spots: those of the first call, where δ = 0."""

    @classmethod
    def of(cls, scene: Scene, facts: Sequence[int]) -> "list[_Part]":
        rows = scene.rows_of(facts)
        return [cls(scene, rows, scene.spots(rows))] if rows else []

    def among(self, facts: Sequence[int]) -> "list[_Part]":
        """The same for fewer facts."""
        parts = _Part.of(self.scene, facts)
        for part in parts:
            assert self.before is not None
            part.before = self.before[
                torch.isin(self.spots.facts[self.spots.tokens < 0], torch.tensor(facts).to(self.before.device))
            ]
        return parts

    def __call__(self, delta: Float[Tensor, "fact d_model"]) -> tuple[Float[Tensor, " fact"], Float[Tensor, " fact"]]:
        """−log P(new answer) and KL(before ‖ after), weighted and summed by fact; 0 for facts that are not run."""
        after = self.scene.after(delta, self.rows, self.spots)
        kept = self.spots.tokens < 0
        if self.before is None:
            self.before = after[kept].detach()
        said = after[~kept].gather(-1, self.spots.tokens[~kept][:, None])[:, 0]
        kl = kl_div(after[kept], self.before, log_target=True, reduction="none").sum(-1)
        return _by_fact(-said, self.spots.chosen(~kept), len(delta)), _by_fact(kl, self.spots.chosen(kept), len(delta))


def _by_fact(values: Float[Tensor, " spot"], at: Spots, facts: int) -> Float[Tensor, " fact"]:
    return torch.zeros(facts, device=values.device).index_add(0, at.facts, at.weights * values)


class _Adam:
    """Adam (Kingma & Ba 2015) with a step size for each row, of which only some step."""

    def __init__(self, like: Float[Tensor, "row width"], lr: Float[Tensor, "row 1"]) -> None:
        self.lr, self.time = lr, 0
        self.first, self.second = torch.zeros_like(like), torch.zeros_like(like)

    def step(self, x: Tensor, grad: Tensor, rows: Int[Tensor, " row"] | Sequence[int]) -> Tensor:
        self.time += 1
        self.first = self.first.lerp(grad, 0.1)
        self.second = self.second.lerp(grad.square(), 0.001)
        mean, square = self.first / (1 - 0.9**self.time), self.second / (1 - 0.999**self.time)
        moved = x.clone()
        moved[rows] -= (self.lr * mean / (square.sqrt() + 1e-8))[rows]
        return moved


def subject_reads(
    model: Model, lines: Sequence[Sequence[Line]], layer: int, last: int
) -> tuple[Float[Tensor, "d_mlp fact"], Float[Tensor, "d_model fact"]]:
    """Keys at `layer`, and the stream behind `last`, at the subject; each averaged over a fact's lines."""
    flat = [line._replace(fact=i) for i, own in enumerate(lines) for line in own]
    points = (f"mlp_act.{layer}", f"resid_post.{last}")
    reads = mean_reads(model, flat, len(lines), dict.fromkeys(points, lambda line: line.subject))
    return reads[points[0]].T, reads[points[1]].T
