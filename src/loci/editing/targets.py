"""What an MLP should say at the subject instead: the δ to add to its output so that the new answer
follows.

    min over δ   mean over the wanted lines of −log P(new answer) / tokens
               + kl · KL( before ‖ after )  mean over the kept lines, from the last subject token on
               + decay · ‖δ‖² / ‖x‖²        x: the residual stream there, behind the block
    subject to  ‖δ‖ ≤ clamp · ‖x‖

δ is added at the last subject token, in every line. Many facts are searched at once, each with its
own step, limit and stop: `Scene` says what a step computes, and a fact that is found leaves the
batch. The prompts alone come first, as most of the way can be gone on them.

    δ ← δ − min( loss / ‖g‖, reach · ‖x‖ ) · g / ‖g‖          g = ∂ loss / ∂δ

is Polyak's step (1969): as far down as would bring the loss to 0, were it linear. Adam, as
published, moves every coordinate, needed or not, and ends with δ of twice the length, which disturb
everything else.
Source: Meng et al. 2022, section 3.1 and appendix. Differences: sizes are relative to the stream,
as in MEMIT, since an MLP's own output may be small where the stream is not; the norm penalty is
squared, so that it is smooth at 0; the published essence, the next token at the subject in
"{subject} is a", does not keep the subject's other facts, as sampled texts do; and own phrasings of
the question (`lines_about`) make δ hold in others than the user's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.lines import Line, LineSettings, lines_about, mean_reads
from loci.editing.objective import EditObjective
from loci.editing.scenes import Scene, scenes
from loci.editing.target_loss import LossPart, stepped
from loci.editing.vocabulary import Vocabulary
from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model
from loci.model.answers import BUDGET
from loci.progress import Progress, silent

SHRINK = 0.8
"""Facts that are found are left out of the batch once so few are left of it."""


@dataclass(frozen=True)
class TargetSettings(LineSettings):
    """How a target is searched. The defaults hold for models of any width: all limits are relative
    to the residual stream.
    """

    contexts: int = 2
    essence: int = 8
    own: int = 3
    steps: int = 25
    """most steps"""
    reach: float = 0.2
    """longest step, in units of the norm of the stream"""
    stop: float = 0.03
    """a fact is found when the mean negative log-probability per answer token is below this"""
    kl: float = 1.0
    """weight of the kept lines"""
    decay: float = 1e-3
    """weight of the norm penalty"""
    clamp: float = 2.0
    """largest ‖δ‖ in units of the norm of the stream"""

    @property
    def objective(self) -> EditObjective:
        """What is minimised for each fact."""
        return EditObjective(retain=self.kl, size=self.decay)


LEAN = TargetSettings(contexts=1, own=2, essence=3, reach=0.5, clamp=0.75)
"""For hundreds of facts: a third of the lines, longer steps, and shorter δ, as they have to get
along.
"""
BARE = replace(LEAN, own=0, essence=0, stop=0.02)
"""The prompts, bare and behind one context: nothing is sampled, and nothing is kept but what the
metric keeps.
"""


class Target(NamedTuple):
    """The key at the subject, averaged over the wanted lines, and the residual that the value
    should gain there.
    """

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
    vocabulary: Vocabulary | None = None,
    progress: Progress = silent,
) -> list[Target]:
    """Key and δ of each fact at one layer. Raises `EditError` where a fact has no new answer, or
    its search diverges.
    """
    settings = settings or TargetSettings()
    lines = lines_about(model, facts, settings) if lines is None else lines
    vocabulary = vocabulary or Vocabulary.of(model, [line for own in lines for line in own])
    found: list[Target] = []
    for chosen in _chunks(lines, vocabulary.rows):
        with model.frozen():
            found += _TargetSearch(
                model,
                [facts[i] for i in chosen],
                [lines[i] for i in chosen],
                layer,
                settings,
                vocabulary,
            ).run()
        progress(len(chosen), len(facts))
    return found


@torch.no_grad()
def loss_with(
    model: Model,
    lines: Sequence[Sequence[Line]],
    layer: int,
    targets: Sequence[Target],
    vocabulary: Vocabulary,
) -> float:
    """Mean −log P(new answer) over wanted lines + mean KL over kept lines, with the targets' δ in
    place. Cost: two forward passes.
    """
    shares = [line for i, own in enumerate(lines) for line in _shares(i, own)]
    delta = torch.stack([target.delta for target in targets])
    with model.frozen():
        parts = [
            part
            for scene in scenes(model, layer, shares, vocabulary)
            for part in LossPart.of(scene, range(len(scene.lines)))
        ]
        nll, kl = (
            torch.stack(each).sum(0) for each in zip(*(part(delta) for part in parts), strict=True)
        )
    return float(EditObjective()(edit=nll, retain=kl).mean())


def _chunks(lines: Sequence[Sequence[Line]], most: int) -> Iterator[list[int]]:
    """Facts whose lines fit one batch, and are read at `most` positions (one fact at least), in
    their order.
    """
    chunk: list[int] = []
    rows, width, read = 0, 0, 0
    for i, own in enumerate(lines):
        longest = max(len(line.ids) for line in own)
        spots = sum(len(line.read) for line in own)
        if chunk and ((rows + len(own)) * max(width, longest) > BUDGET or read + spots > most):
            yield chunk
            chunk, rows, width, read = [], 0, 0, 0
        chunk.append(i)
        read += spots
        rows, width = rows + len(own), max(width, longest)
    yield chunk


class _TargetSearch:
    """One batch of facts: what is searched, and how far each fact has come."""

    def __init__(
        self,
        model: Model,
        facts: Sequence[Fact],
        lines: Sequence[Sequence[Line]],
        layer: int,
        settings: TargetSettings,
        vocabulary: Vocabulary,
    ) -> None:
        self.facts, self.settings = facts, settings
        self.tokens = [len(own[0].wanted) for own in lines]
        self.prompts = {
            (i, next(line.ids for line in own if line.wanted)) for i, own in enumerate(lines)
        }
        shares = [line for i, own in enumerate(lines) for line in _shares(i, own)]
        self.scenes = list(scenes(model, layer, shares, vocabulary))
        self.keys = _means(self.scenes, len(facts), [scene.keys for scene in self.scenes])
        self.scale = _means(self.scenes, len(facts), [scene.size for scene in self.scenes])
        self.delta = torch.zeros(len(facts), model.d_model, device=model.device)
        self.loss, self.nll, self.steps, self.before = (
            torch.zeros(len(facts), device=model.device) for _ in range(4)
        )

    def run(self) -> list[Target]:
        """First on the prompts alone, which come near with a fraction of the lines; then on all
        lines from there.
        """
        prompts = [part for scene in self.scenes for part in LossPart.alone(scene, self.prompts)]
        self._search(prompts, self.settings.steps // 2)
        self.before = self.steps.clone()
        lines = [
            part for scene in self.scenes for part in LossPart.of(scene, range(len(scene.lines)))
        ]
        self._search(lines, self.settings.steps - self.settings.steps // 2)
        return [
            Target(key, delta.detach(), float(loss), float((-nll * tokens).exp()), int(steps))
            for key, delta, loss, nll, tokens, steps in zip(
                self.keys, self.delta, self.loss, self.nll, self.tokens, self.steps, strict=True
            )
        ]

    @torch.enable_grad()
    def _search(self, parts: "list[LossPart]", steps: int) -> None:
        settings = self.settings
        active = still = list(range(len(self.facts)))
        for step in range(steps + 1):
            delta = self.delta.requires_grad_()
            nll, kl = (
                torch.stack(each).sum(0)
                for each in zip(*(part(delta) for part in parts), strict=True)
            )
            size = (delta / self.scale).square().sum(-1)
            loss = settings.objective(edit=nll, retain=kl, size=size)
            self._note(still, step, loss.detach(), nll.detach())
            still = [i for i in still if nll[i] >= settings.stop]
            if not still or step == steps:
                break
            (grad,) = torch.autograd.grad(loss[still].sum(), delta)
            self.delta = self._clamped(
                stepped(delta.detach(), grad, loss.detach(), settings.reach * self.scale)
            )
            if len(still) < SHRINK * len(active):
                active, parts = still, [smaller for part in parts for smaller in part.among(still)]
        self.delta = self.delta.detach()

    def _note(self, still: list[int], step: int, loss: Tensor, nll: Tensor) -> None:
        for i in still:
            if not loss[i].isfinite():
                fact = self.facts[i]
                raise EditError(
                    f"the search for {fact.text!r} → {fact.new_answer!r} diverged at step {step}"
                )
        self.loss[still], self.nll[still], self.steps[still] = (
            loss[still],
            nll[still],
            self.before[still] + step,
        )

    def _clamped(self, delta: Tensor) -> Tensor:
        longest = self.settings.clamp * self.scale
        shrunk: Tensor = delta * (
            longest / delta.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        ).clamp(max=1.0)
        return shrunk


def _shares(fact: int, lines: Sequence[Line]) -> Iterator[Line]:
    """The lines of one fact, with weights that sum to 1 for each kind."""
    total = {
        kind: sum(line.weight for line in lines if bool(line.wanted) == kind)
        for kind in (True, False)
    }
    for line in lines:
        yield line._replace(fact=fact, weight=line.weight / total[bool(line.wanted)])


def _means(
    found: Sequence[Scene], facts: int, values: Sequence[Float[Tensor, "line width"]]
) -> Float[Tensor, "fact width"]:
    """What is read at the subject, averaged over the wanted lines of each fact."""
    sums = []
    for scene, read in zip(found, values, strict=True):
        weights = torch.tensor(
            [line.weight if line.wanted else 0.0 for line in scene.lines], device=scene.facts.device
        )
        sums.append(
            torch.zeros(facts, read.shape[1], device=read.device).index_add(
                0, scene.facts, weights[:, None] * read
            )
        )
    return torch.stack(sums).sum(0)


def subject_reads(
    model: Model, lines: Sequence[Sequence[Line]], layer: int, last: int
) -> tuple[Float[Tensor, "d_mlp fact"], Float[Tensor, "d_model fact"]]:
    """Keys at `layer`, and the stream behind `last`, at the subject; each averaged over a fact's
    lines.
    """
    flat = [line._replace(fact=i) for i, own in enumerate(lines) for line in own]
    points = (f"mlp_act.{layer}", f"resid_post.{last}")
    reads = mean_reads(model, flat, len(lines), dict.fromkeys(points, lambda line: line.subject))
    return reads[points[0]].T, reads[points[1]].T
