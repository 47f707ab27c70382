"""Target vectors: the δ to add to an MLP's output at the subject so that the new answer follows.

    min over δ   mean over the edit prompts of −log P(new answer) / tokens
               + kl · KL( before ‖ after )  over the retain prompts, from the last subject token
               + decay · ‖δ‖² / ‖x‖²        x: the residual stream there, behind the block
    subject to  ‖δ‖ ≤ clamp · ‖x‖

δ is added at the last subject token, in every prompt. Many facts are searched at once, each with
its own step, limit and stop: `AlignedBatch` says what a step computes, and a fact that is found
leaves the batch. The bare prompts come first, as most of the way can be gone on them.

    δ ← δ − min( loss / ‖g‖, max_step · ‖x‖ ) · g / ‖g‖          g = ∂ loss / ∂δ

is Polyak's step (1969): as far down as would bring the loss to 0, were it linear. Adam, as
published, moves every coordinate, needed or not, and ends with δ of twice the length, which disturb
everything else.
Source: Meng et al. 2022, section 3.1 and appendix. Differences: sizes are relative to the stream,
as in MEMIT, since an MLP's own output may be small where the stream is not; the norm penalty is
squared, so that it is smooth at 0; the published essence, the next token at the subject in
"{subject} is a", does not keep the subject's other facts, as sampled texts do; and own phrasings of
the question (`training_prompts`) make δ hold in others than the user's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.deprecated import renamed_arguments, renamed_fields
from loci.editing.aligned_batch import AlignedBatch, aligned_batches
from loci.editing.descent import stepped
from loci.editing.objective import EditObjective
from loci.editing.prompts import PromptSettings, TrainingPrompt, training_prompts
from loci.editing.target_loss import LossPart
from loci.editing.vocabulary import Vocabulary
from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model
from loci.model.answers import BUDGET
from loci.progress import Progress, silent

SHRINK = 0.8
"""Facts that are found are left out of the batch once so few are left of it."""


@renamed_fields(reach="max_step")
@dataclass(frozen=True)
class TargetSettings(PromptSettings):
    """How a target is searched. The defaults hold for models of any width: all limits are relative
    to the residual stream.
    """

    contexts: int = 2
    essence: int = 8
    own: int = 3
    steps: int = 25
    """most steps"""
    max_step: float = 0.2
    """longest step, in units of the norm of the stream"""
    stop: float = 0.03
    """a fact is found when the mean negative log-probability per answer token is below this"""
    kl: float = 1.0
    """weight of the retain prompts"""
    decay: float = 1e-3
    """weight of the norm penalty"""
    clamp: float = 2.0
    """largest ‖δ‖ in units of the norm of the stream"""

    @property
    def objective(self) -> EditObjective:
        """The objective for each fact."""
        return EditObjective(retain=self.kl, size=self.decay)


LEAN = TargetSettings(contexts=1, own=2, essence=3, max_step=0.5, clamp=0.75)
"""For hundreds of facts: a third of the prompts, longer steps, and shorter δ, as they have to get
along.
"""
BARE = replace(LEAN, own=0, essence=0, stop=0.02)
"""The prompts, bare and behind one context: nothing is sampled, and nothing is kept but what the
metric keeps.
"""


class Target(NamedTuple):
    """The key at the subject, averaged over the edit prompts, and the residual that the value
    should gain there.
    """

    key: Float[Tensor, " d_mlp"]
    delta: Float[Tensor, " d_model"]
    loss: float
    probability: float
    """Geometric mean over the edit prompts of P(new answer), with δ added."""
    steps: int


@renamed_arguments(lines="prompts")
def find_targets(
    model: Model,
    facts: Sequence[Fact],
    layer: int,
    settings: TargetSettings | None = None,
    prompts: Sequence[Sequence[TrainingPrompt]] | None = None,
    vocabulary: Vocabulary | None = None,
    progress: Progress = silent,
) -> list[Target]:
    """Key and δ of each fact at one layer. Raises `EditError` where a fact has no new answer, or
    its search diverges.
    """
    settings = settings or TargetSettings()
    prompts = training_prompts(model, facts, settings) if prompts is None else prompts
    vocabulary = vocabulary or Vocabulary.of(model, [prompt for own in prompts for prompt in own])
    found: list[Target] = []
    for chosen in _chunks(prompts, vocabulary.rows):
        with model.frozen():
            found += _TargetSearch(
                model,
                [facts[i] for i in chosen],
                [prompts[i] for i in chosen],
                layer,
                settings,
                vocabulary,
            ).run()
        progress(len(chosen), len(facts))
    return found


@torch.no_grad()
def loss_with(
    model: Model,
    prompts: Sequence[Sequence[TrainingPrompt]],
    layer: int,
    targets: Sequence[Target],
    vocabulary: Vocabulary,
) -> float:
    """Mean −log P(new answer) over edit prompts + mean KL over retain prompts, with δ in place.

    Cost: two forward passes.
    """
    shares = [prompt for i, own in enumerate(prompts) for prompt in _shares(i, own)]
    delta = torch.stack([target.delta for target in targets])
    with model.frozen():
        parts = [
            part
            for batch in aligned_batches(model, layer, shares, vocabulary)
            for part in LossPart.of(batch, range(len(batch.prompts)))
        ]
        nll, kl = (
            torch.stack(each).sum(0) for each in zip(*(part(delta) for part in parts), strict=True)
        )
    return float(EditObjective()(edit=nll, retain=kl).mean())


def _chunks(prompts: Sequence[Sequence[TrainingPrompt]], most: int) -> Iterator[list[int]]:
    """Facts whose prompts fit one batch, and are read at `most` positions (one fact at least), in
    their order.
    """
    chunk: list[int] = []
    rows, width, read = 0, 0, 0
    for i, own in enumerate(prompts):
        longest = max(len(prompt.ids) for prompt in own)
        positions = sum(len(prompt.positions) for prompt in own)
        if chunk and ((rows + len(own)) * max(width, longest) > BUDGET or read + positions > most):
            yield chunk
            chunk, rows, width, read = [], 0, 0, 0
        chunk.append(i)
        read += positions
        rows, width = rows + len(own), max(width, longest)
    yield chunk


class _TargetSearch:
    """One batch of facts: what is searched, and how far each fact has come."""

    def __init__(
        self,
        model: Model,
        facts: Sequence[Fact],
        prompts: Sequence[Sequence[TrainingPrompt]],
        layer: int,
        settings: TargetSettings,
        vocabulary: Vocabulary,
    ) -> None:
        self.facts, self.settings = facts, settings
        self.tokens = [len(own[0].answer) for own in prompts]
        self.prompts = {
            (i, next(prompt.ids for prompt in own if prompt.answer))
            for i, own in enumerate(prompts)
        }
        shares = [prompt for i, own in enumerate(prompts) for prompt in _shares(i, own)]
        self.batches = list(aligned_batches(model, layer, shares, vocabulary))
        self.keys = _means(self.batches, len(facts), [batch.keys for batch in self.batches])
        self.scale = _means(self.batches, len(facts), [batch.size for batch in self.batches])
        self.delta = torch.zeros(len(facts), model.d_model, device=model.device)
        self.loss, self.nll, self.steps, self.before = (
            torch.zeros(len(facts), device=model.device) for _ in range(4)
        )

    def run(self) -> list[Target]:
        """First on the bare prompts, which come near with a fraction of the prompts; then on all
        prompts from there.
        """
        prompts = [part for batch in self.batches for part in LossPart.alone(batch, self.prompts)]
        self._search(prompts, self.settings.steps // 2)
        self.before = self.steps.clone()
        prompts = [
            part for batch in self.batches for part in LossPart.of(batch, range(len(batch.prompts)))
        ]
        self._search(prompts, self.settings.steps - self.settings.steps // 2)
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
                stepped(delta.detach(), grad, loss.detach(), settings.max_step * self.scale)
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


def _shares(fact: int, prompts: Sequence[TrainingPrompt]) -> Iterator[TrainingPrompt]:
    """The prompts of one fact, with weights that sum to 1 for each kind."""
    edit = sum(prompt.weight for prompt in prompts if prompt.answer)
    retain = sum(prompt.weight for prompt in prompts if not prompt.answer)
    for prompt in prompts:
        total = edit if prompt.answer else retain
        yield prompt._replace(fact=fact, weight=prompt.weight / total)


def _means(
    found: Sequence[AlignedBatch], facts: int, values: Sequence[Float[Tensor, "prompt width"]]
) -> Float[Tensor, "fact width"]:
    """Values at the subject, averaged over the edit prompts of each fact."""
    sums = []
    for batch, read in zip(found, values, strict=True):
        weights = torch.tensor(
            [prompt.weight if prompt.answer else 0.0 for prompt in batch.prompts],
            device=batch.facts.device,
        )
        sums.append(
            torch.zeros(facts, read.shape[1], device=read.device).index_add(
                0, batch.facts, weights[:, None] * read
            )
        )
    return torch.stack(sums).sum(0)
