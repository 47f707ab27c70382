"""What an MLP should say at the subject instead: the δ to add to its output so that the new answer follows.

    min over δ   mean over contexts of −log P(new answer) / tokens
               + kl · KL( P(· | essence) before ‖ after )        mean from the last subject token of "{subject} is a" on
               + decay · ‖δ‖² / ‖m‖²                             m: the MLP's own output there
    subject to  ‖δ‖ ≤ clamp · ‖m‖

δ is added at the last subject token, in every context. Runs are recorded once and replayed from the edited layer.
Source: Meng et al. 2022, section 3.1 and appendix. Two differences: the norm penalty is squared, so that it is smooth at 0, and the
essence is compared at every position from the subject on, where the published code looks at the subject alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import kl_div

from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model, Recording, by_length
from loci.model.answers import with_answer


@dataclass(frozen=True)
class TargetSettings:
    """How a target is searched. The defaults hold for models of any width: all limits are relative to the MLP's output."""

    steps: int = 40
    """most steps of Adam"""
    lr: float = 0.1
    """step size, in units of the norm of the MLP's output divided by √d_model"""
    stop: float = 0.02
    """stop when the mean negative log-probability per answer token falls below this"""
    kl: float = 0.0625
    """weight of the essence term"""
    decay: float = 1e-3
    """weight of the norm penalty"""
    clamp: float = 4.0
    """largest ‖δ‖ in units of the norm of the MLP's output"""
    contexts: int = 8
    """texts put in front of the prompt, beside the bare one"""


class Target(NamedTuple):
    """The key at the subject, averaged over the contexts, and the residual that the value should gain there."""

    key: Float[Tensor, " d_mlp"]
    delta: Float[Tensor, " d_model"]
    loss: float
    probability: float
    """Geometric mean over the contexts of P(new answer), with δ added."""
    steps: int


@torch.enable_grad()
def find_target(model: Model, fact: Fact, layer: int, contexts: list[str], settings: TargetSettings) -> Target:
    """Key and δ for one fact at one layer. Raises `EditError` where the search diverges."""
    if fact.new_answer is None:
        raise EditError(f"no new answer for {fact.text!r}: say fact.to(…)")
    views = list(_views(model, fact, fact.new_answer, layer, contexts))
    essence = _essence(model, fact, layer)
    before = essence.logprobs(essence.run.logits)
    key = torch.cat([view.keys for view in views]).mean(0)
    scale = float(torch.cat([view.outputs for view in views]).norm(dim=-1).mean())

    delta = torch.zeros(model.d_model, device=model.device, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=settings.lr * scale / model.d_model**0.5)
    for step in range(settings.steps + 1):
        nll = torch.cat([view.nll(delta) for view in views]).mean()
        divergence = kl_div(essence.logprobs(essence.replay(delta)), before, log_target=True, reduction="none").sum(-1).mean()
        loss = nll + settings.kl * divergence + settings.decay * (delta / scale).square().sum()
        if not loss.isfinite():
            raise EditError(f"the search for {fact.text!r} → {fact.new_answer!r} diverged at step {step}")
        if nll.item() < settings.stop or step == settings.steps:
            break
        (delta.grad,) = torch.autograd.grad(loss, delta)
        adam.step()
        with torch.no_grad():
            delta *= min(1.0, settings.clamp * scale / max(float(delta.norm()), 1e-12))
    probability = (-nll * views[0].targets.numel()).exp().item()
    return Target(key, delta.detach(), loss.item(), probability, step)


@dataclass(frozen=True)
class _View:
    """Texts of one length, recorded once, replayed with δ at their subjects; what counts are their last `last` positions."""

    run: Recording
    layer: int
    subjects: Int[Tensor, " context"]
    """Position of the last subject token in each."""
    last: int
    targets: Int[Tensor, " answer"]
    keys: Float[Tensor, "context d_mlp"]
    outputs: Float[Tensor, "context d_model"]

    def replay(self, delta: Float[Tensor, " d_model"]) -> Float[Tensor, "context last d_vocab"]:
        rows = torch.arange(len(self.subjects))

        def add(out: Tensor) -> Tensor:
            at = torch.zeros_like(out[..., :1])
            at[rows, self.subjects] = 1
            return out + at * delta.to(out.dtype)

        with self.run.model.patched({f"mlp_out.{self.layer}": add}):
            return self.run.replay(self.layer, self.run.resid_pre(self.layer), self.last)

    def logprobs(self, logits: Float[Tensor, "context position d_vocab"]) -> Float[Tensor, "context last d_vocab"]:
        return logits[:, -self.last :].float().log_softmax(-1)

    def nll(self, delta: Float[Tensor, " d_model"]) -> Float[Tensor, " context"]:
        """Negative log-probability per answer token, context by context."""
        logprobs = self.logprobs(self.replay(delta))
        return -logprobs.gather(-1, self.targets.expand(len(logprobs), -1)[..., None])[..., 0].mean(-1)


def _views(model: Model, fact: Fact, answer: str, layer: int, contexts: list[str]) -> Iterator[_View]:
    """The bare prompt and the prompt behind each context, grouped by length."""
    heads = ["", *(f"{context} " for context in contexts)]
    split = [with_answer(model, head + fact.text, answer) for head in heads]
    start, end = fact.subject_span
    subjects = [tokens.span((start + len(head), end + len(head)))[1] - 1 for head, (tokens, _) in zip(heads, split, strict=True)]
    for group in by_length(split, lambda item: len(item[0]), 1 << 30):
        tokens, (first, last) = split[group[0]]
        ids = model.ids([split[i][0].ids[:-1] for i in group])
        targets = torch.tensor(tokens.ids[first:last], device=model.device)
        yield _record(model, ids, layer, [subjects[i] for i in group], last - first, targets)


def _essence(model: Model, fact: Fact, layer: int) -> _View:
    """What "{subject} is a" leads to: that should stay."""
    tokens = model.tokenize(f"{fact.subject} is a")
    subject = tokens.span((0, len(fact.subject)))[1] - 1
    return _record(model, model.ids([tokens.ids]), layer, [subject], len(tokens) - subject, torch.empty(0))


def _record(model: Model, ids: Tensor, layer: int, subjects: list[int], last: int, targets: Tensor) -> _View:
    with model.watch(f"mlp_act.{layer}", f"mlp_out.{layer}") as reads:
        run = model.record(ids)
    rows, columns = torch.arange(len(subjects)), torch.tensor(subjects)
    keys, outputs = reads[f"mlp_act.{layer}"][rows, columns], reads[f"mlp_out.{layer}"][rows, columns]
    return _View(run, layer, columns, last, targets, keys.float(), outputs.float())
