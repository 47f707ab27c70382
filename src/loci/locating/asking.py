"""A fact as the model is asked for it: the prompt with all of the answer but its last token fed in,
and what P(answer) is then.

P(answer) = Π_k P(token k of the answer | prompt, the tokens before it)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from loci.errors import FactError
from loci.facts import Fact, Span
from loci.facts.matching import spelling
from loci.model import Model, complete, score_answers
from loci.model.answers import SPARE, with_answer
from loci.model.unembedding import unembedded


@dataclass(frozen=True)
class Asked:
    """The tokens of one fact."""

    ids: Int[Tensor, "1 position"]
    labels: tuple[str, ...]
    """The prompt's tokens as they read, without the answer's."""
    subject: Span
    targets: Int[Tensor, " answer"]


def ask(model: Model, fact: Fact) -> Asked:
    """Tokenise a fact. Raises `ModelError` for an empty or too long prompt."""
    tokens, (start, end) = with_answer(model, fact.text, fact.answer)
    targets = torch.tensor(tokens.ids[start:end], device=model.device)
    return Asked(
        model.ids([tokens.ids[: end - 1]]),
        tokens.labels[:start],
        tokens.span(fact.subject_span),
        targets,
    )


def probability(
    logits: Float[Tensor, "*group sample position vocab"], targets: Tensor
) -> Float[Tensor, " *group"]:
    """P(answer) from the logits of a run over `Asked.ids`, averaged over the samples."""
    return drawn_probability(logits, targets).mean(-1)


def drawn_probability(
    logits: Float[Tensor, "*group sample position vocab"], targets: Tensor
) -> Float[Tensor, "*group sample"]:
    """The same of every sample."""
    logits = logits[..., -len(targets) :, :].float()
    picked = logits.gather(-1, targets.to(logits.device).expand(*logits.shape[:-2], -1)[..., None])[
        ..., 0
    ]
    return (picked - logits.logsumexp(-1)).sum(-1).exp().cpu()


@torch.no_grad()
def drawn_probability_at(
    model: Model, streams: Float[Tensor, "*group sample position d_model"], targets: Tensor
) -> Float[Tensor, "*group sample"]:
    """The same from what the last block leaves at the last positions, unembedded a few rows at a
    time.
    """
    wanted = targets.to(streams.device).expand(streams.shape[:-1])
    log_probs = [
        -cross_entropy(logits, wanted.flatten()[some], reduction="none")
        for some, logits in unembedded(model, streams.flatten(0, -2))
    ]
    return torch.cat(log_probs).view(streams.shape[:-1]).sum(-1).exp().cpu()


def known_of(model: Model, facts: Sequence[Fact]) -> list[Fact]:
    """The facts whose answer is the model's own, each with the answer as the model spells it ("the
    Netherlands" for "Netherlands").

    Raises `FactError` where there are none.
    """
    scores = score_answers(model, [(fact.text, fact.answer) for fact in facts])
    other = [
        fact for fact, score in zip(facts, scores, strict=True) if score.said and not score.greedy
    ]
    says = iter(
        complete(
            model,
            [fact.text for fact in other],
            max([score.tokens for score in scores], default=0) + SPARE,
        )
    )
    known = [
        (
            fact
            if score.greedy
            else replace(fact, answer=spelling(next(says), fact.answer) or fact.answer)
        )
        for fact, score in zip(facts, scores, strict=True)
        if score.said
    ]
    if not known:
        raise FactError(f"{model.name!r} knows none of the {len(facts)} facts")
    return known
