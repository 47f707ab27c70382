"""What an MLP should say at the subject instead: the δ to add to its output so that the new answer follows.

    min over δ   mean over contexts of −log P(new answer) / tokens
               + kl · KL( P(· | essence) before ‖ after )        both at the last subject token of "{subject} is a"
               + decay · ‖δ‖² / ‖m‖²                             m: the MLP's own output there
    subject to  ‖δ‖ ≤ clamp · ‖m‖

δ is added at the last subject token, in every context. Runs are recorded once and replayed from the edited layer.
Source: Meng et al. 2022, section 3.1 and appendix; the norm penalty is squared here, so that it is smooth at 0.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
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


def find_target(model: Model, fact: Fact, layer: int, contexts: list[str], settings: TargetSettings) -> Target:
    """Key and δ for one fact at one layer. Raises `EditError` where the search diverges."""
    if fact.new_answer is None:
        raise EditError(f"no new answer for {fact.text!r}: say fact.to(…)")
    views = list(_views(model, fact, fact.new_answer, layer, contexts))
    essence = _essence(model, fact, layer)
    before = essence.at_subject(essence.run.logits).log_softmax(-1)
    key = torch.cat([view.keys for view in views]).mean(0)
    scale = float(torch.cat([view.outputs for view in views]).norm(dim=-1).mean())

    delta = torch.zeros(model.d_model, device=model.device, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=settings.lr * scale / model.d_model**0.5)
    for step in range(settings.steps + 1):
        nll = torch.cat([view.nll(delta) for view in views]).mean()
        after = essence.at_subject(essence.replay(delta)).log_softmax(-1)
        divergence = kl_div(after, before, log_target=True, reduction="sum")
        loss = nll + settings.kl * divergence + settings.decay * (delta / scale).square().sum()
        if not loss.isfinite():
            raise EditError(f"the search for {fact.text!r} → {fact.new_answer!r} diverged at step {step}")
        if nll.item() < settings.stop or step == settings.steps:
            break
        (delta.grad,) = torch.autograd.grad(loss, delta)
        adam.step()
        with torch.no_grad():
            delta *= min(1.0, settings.clamp * scale / max(float(delta.norm()), 1e-12))
    length = views[0].length
    return Target(key, delta.detach(), loss.item(), (-nll * length).exp().item(), step)


@dataclass(frozen=True)
class _View:
    """A batch of contexts of one length in front of one prompt: recorded once, replayed with δ."""

    run: Recording
    layer: int
    subject: int
    """Position of the last subject token."""
    start: int
    """Position of the first answer token."""
    length: int
    targets: Tensor
    keys: Tensor
    outputs: Tensor

    def replay(self, delta: Tensor) -> Tensor:
        with _added(self.run.model, self.layer, self.subject, delta):
            return self.run.replay(self.layer, self.run.resid_pre(self.layer))

    def nll(self, delta: Tensor) -> Float[Tensor, " context"]:
        """Negative log-probability per answer token, context by context."""
        logprobs = self.replay(delta)[:, self.start - 1 :].log_softmax(-1)
        return -logprobs.gather(-1, self.targets.expand(len(logprobs), -1)[..., None])[..., 0].mean(-1)

    def at_subject(self, logits: Tensor) -> Float[Tensor, " d_vocab"]:
        return logits[0, self.subject]


def _views(model: Model, fact: Fact, answer: str, layer: int, contexts: list[str]) -> Iterator[_View]:
    """The bare prompt and the prompt behind each context, grouped by length."""
    heads = ["", *(f"{context} " for context in contexts)]
    split = [with_answer(model, head + fact.text, answer) for head in heads]
    for group in by_length(split, lambda item: len(item[0]), 1 << 30):
        tokens, (start, end) = split[group[0]]
        subjects = [_last_subject_token(model, heads[i], fact, answer) for i in group]
        if len(set(subjects)) > 1 or len({split[i][1] for i in group}) > 1:
            raise EditError(f"contexts of one length split {fact.text!r} into different tokens")
        ids = model.ids([split[i][0].ids[:-1] for i in group])
        targets = torch.tensor(tokens.ids[start:end], device=model.device)
        yield _record(model, ids, layer, subjects[0], start, targets)


def _last_subject_token(model: Model, head: str, fact: Fact, answer: str) -> int:
    start, end = fact.subject_span
    return with_answer(model, head + fact.text, answer)[0].span((start + len(head), end + len(head)))[1] - 1


def _essence(model: Model, fact: Fact, layer: int) -> _View:
    """ "{subject} is a": what the subject is should stay."""
    tokens = model.tokenize(f"{fact.subject} is a")
    subject = tokens.span((0, len(fact.subject)))[1] - 1
    return _record(model, model.ids([tokens.ids]), layer, subject, len(tokens), torch.empty(0))


def _record(model: Model, ids: Tensor, layer: int, subject: int, start: int, targets: Tensor) -> _View:
    with model.watch(f"mlp_act.{layer}", f"mlp_out.{layer}") as reads:
        run = model.record(ids)
    keys, outputs = reads[f"mlp_act.{layer}"][:, subject], reads[f"mlp_out.{layer}"][:, subject]
    return _View(run, layer, subject, start, len(targets), targets, keys, outputs)


@contextmanager
def _added(model: Model, layer: int, position: int, delta: Tensor) -> Iterator[None]:
    def add(out: Tensor) -> Tensor:
        at = torch.zeros(out.shape[1], 1, device=out.device, dtype=out.dtype)
        at[position] = 1
        return out + at * delta.to(out.dtype)

    with model.patched({f"mlp_out.{layer}": add}):
        yield
