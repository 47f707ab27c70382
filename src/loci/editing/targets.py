"""What an MLP should say at the subject instead: the δ to add to its output so that the new answer follows.

    min over δ   mean over contexts of −log P(new answer) / tokens
               + kl · KL( P(· | essence) before ‖ after )        mean from the last subject token on
               + decay · ‖δ‖² / ‖m‖²                             m: the MLP's own output there
    subject to  ‖δ‖ ≤ clamp · ‖m‖

δ is added at the last subject token, in every context. Runs are recorded once and replayed from the edited layer.
The essence is what the model itself says of the subject: texts sampled from it, each up to where the old or new answer is due.
Source: Meng et al. 2022, section 3.1 and appendix. Two differences: the norm penalty is squared, so that it is smooth at 0; and the
published essence, the next token at the subject in "{subject} is a", does not keep the subject's other facts, as sampled texts do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import kl_div

from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model, Recording, by_length, complete, first_sentence
from loci.model.answers import with_answer


@dataclass(frozen=True)
class TargetSettings:
    """How a target is searched. The defaults hold for models of any width: all limits are relative to the MLP's output."""

    steps: int = 40
    """most steps of Adam"""
    lr: float = 0.1
    """step size, in units of the norm of the MLP's output divided by √d_model"""
    stop: float = 0.01
    """stop when the mean negative log-probability per answer token falls below this"""
    kl: float = 1.0
    """weight of the essence term"""
    decay: float = 1e-3
    """weight of the norm penalty"""
    clamp: float = 4.0
    """largest ‖δ‖ in units of the norm of the MLP's output"""
    contexts: int = 5
    """texts put in front of the prompt, beside the bare one"""
    essence: int = 8
    """what the model says of the subject: texts sampled"""
    essence_tokens: int = 10
    """and their length"""
    seed: int = 0
    """of the sampled texts"""


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
    views = list(_views(model, fact, fact.new_answer + _ending(model, fact), layer, contexts))
    essence = _essence(model, fact, layer, settings)
    before = essence.logprobs(essence.run.logits)
    key = torch.cat([view.keys for view in views]).mean(0)
    scale = float(torch.cat([view.outputs for view in views]).norm(dim=-1).mean())

    delta = torch.zeros(model.d_model, device=model.device, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=settings.lr * scale / model.d_model**0.5)
    for step in range(settings.steps + 1):
        nll = torch.cat([view.nll(delta) for view in views]).mean()
        divergence = essence.divergence(delta, before)
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
    weights: Float[Tensor, "context last"]
    """1 where a position counts, 0 behind the end of a text."""
    keys: Float[Tensor, "context d_mlp"]
    outputs: Float[Tensor, "context d_model"]

    def replay(self, delta: Float[Tensor, " d_model"]) -> Float[Tensor, "context last d_vocab"]:
        rows = torch.arange(len(self.subjects))

        def add(out: Tensor) -> Tensor:
            at = torch.zeros_like(out[..., :1])
            at[rows, self.subjects] = 1
            return out + at * delta.to(out.dtype)

        with self.run.model.patched({f"mlp_raw.{self.layer}": add}):
            return self.run.replay(self.layer, self.run.resid_pre(self.layer), self.last)

    def logprobs(self, logits: Float[Tensor, "context position d_vocab"]) -> Float[Tensor, "context last d_vocab"]:
        return logits[:, -self.last :].float().log_softmax(-1)

    def nll(self, delta: Float[Tensor, " d_model"]) -> Float[Tensor, " context"]:
        """Negative log-probability per answer token, context by context."""
        logprobs = self.logprobs(self.replay(delta))
        return -logprobs.gather(-1, self.targets.expand(len(logprobs), -1)[..., None])[..., 0].mean(-1)

    def divergence(self, delta: Float[Tensor, " d_model"], before: Float[Tensor, "context last d_vocab"]) -> Float[Tensor, ""]:
        """KL(before ‖ after) of the next token, averaged over the positions that count."""
        each = kl_div(self.logprobs(self.replay(delta)), before, log_target=True, reduction="none").sum(-1)
        return (each * self.weights).sum() / self.weights.sum().clamp(min=1)


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


def _ending(model: Model, fact: Fact) -> str:
    """The full stop behind the model's own answer, if it puts one: the new answer should end there too ("10", not "108")."""
    said = complete(model, [fact.text], 12)[0].strip()
    return said[len(first_sentence(said)) :][:1].strip()


def _essence(model: Model, fact: Fact, layer: int, settings: TargetSettings) -> _View:
    """What the model itself says of the subject, sampled, each text up to where the old or the new answer is due, or it ends."""
    tokens = model.tokenize(fact.subject)
    subject = tokens.span((0, len(fact.subject)))[1] - 1
    ids = model.ids(_sampled(model, tokens.ids, settings.essence, settings.essence_tokens, settings.seed))
    view = _record(model, ids, layer, [subject] * len(ids), ids.shape[1] - subject, torch.empty(0))
    due = model.ids([_first_token(model, fact, answer) for answer in (fact.answer, fact.new_answer or "")])
    over = torch.isin(view.logprobs(view.run.logits).argmax(-1), due) | (ids[:, subject:] == model.tokenizer.eos_token_id)
    return replace(view, weights=(over.cumsum(1) == 0).float())


def _first_token(model: Model, fact: Fact, answer: str) -> list[int]:
    tokens, (start, _) = with_answer(model, fact.text, answer)
    return [tokens.ids[start]]


def _sampled(model: Model, start: Sequence[int], count: int, tokens: int, seed: int) -> list[list[int]]:
    """`count` continuations of `tokens` tokens, drawn from the model with a seed of their own; past an end they are padding."""
    ids = model.ids([start]).expand(count, -1)
    pad = model.tokenizer.eos_token_id
    generate = model.hf.generate
    assert callable(generate)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        out: Tensor = generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            min_new_tokens=1,
            do_sample=True,
            top_k=0,
            pad_token_id=pad,
        )
    return out.tolist()


def _record(model: Model, ids: Tensor, layer: int, subjects: list[int], last: int, targets: Tensor) -> _View:
    with model.watch(f"mlp_act.{layer}", f"mlp_raw.{layer}") as reads:
        run = model.record(ids)
    rows, columns = torch.arange(len(subjects)), torch.tensor(subjects)
    keys, outputs = reads[f"mlp_act.{layer}"][rows, columns], reads[f"mlp_raw.{layer}"][rows, columns]
    weights = torch.ones(len(subjects), last, device=model.device)
    return _View(run, layer, columns, last, targets, weights, keys.float(), outputs.float())
