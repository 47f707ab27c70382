"""Answers of a model: greedy completions, and scores of a given answer.

The greedy completion of a prompt begins with an answer's tokens exactly when, with the answer fed
to the model, every one of its tokens is the likeliest at its place (induction over the tokens). One
forward pass therefore decides what free generation would say:

    greedy  the full match: these tokens
    said    the exact-prefix match: the completion begins with the answer at a word boundary, both
            normalised (`loci.facts.matching`)

Only where the first token leaves it open whether other tokens spell the answer ("the United
States") the model is let speak.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts.matching import matches, may_match
from loci.facts.scripts import within_word
from loci.model.generation import continue_all, end_tokens
from loci.model.joins import (
    Split,
    heard,
    joins,
    next_of,
    split,
    with_answer,
    with_answers,
    written_join,
)
from loci.model.running import RunningModel
from loci.model.tokenised import by_near_length
from loci.model.unembedding import finite, last_streams, unembedded

__all__ = [
    "BUDGET",
    "AnswerScore",
    "answer_row",
    "complete",
    "finite",
    "first_sentence",
    "next_tokens",
    "score_answers",
    "with_answer",
    "with_answers",
]
BUDGET = 8192  # tokens a batch
SPARE = 4
"""Tokens of a completion beyond the answer's own: for an article, a quote, or smaller tokens."""
SENTENCE_END = re.compile(r"[\n.。．｡।۔։።។]")


@dataclass(frozen=True)
class AnswerScore:
    """How a model scores an answer behind a prompt."""

    logprob: float
    """Natural log of the probability of all its tokens."""
    tokens: int
    greedy: bool
    """The full match: free greedy generation gives this answer token by token, and then no further
    letter of the same word.
    """
    said: bool
    """The exact-prefix match: free greedy generation begins with this answer at a word boundary,
    both normalised.
    """

    @property
    def probability(self) -> float:
        return float(torch.tensor(self.logprob).exp())

    @property
    def mean_logprob(self) -> float:
        """Per token: what the literature compares."""
        return self.logprob / self.tokens


@torch.no_grad()
def score_answers(
    model: RunningModel, pairs: Sequence[tuple[str, str]], budget: int | None = None
) -> list[AnswerScore]:
    """Score each (prompt, answer), joined as `loci.model.joins` says.

    Cost: one forward pass over all, in batches of equal length of at most `budget` tokens; what the
    model shows to be joined otherwise is run again. Only the positions where the answer is due are
    unembedded. Where the likeliest first token allows other spellings, a greedy completion on top.
    """
    distinct = list(dict.fromkeys(prompt for prompt, _ in pairs))
    bases = dict(zip(distinct, model.tokenize_all(distinct, model.n_ctx), strict=True))
    written = [written_join(model, prompt) for prompt, _ in pairs]
    asked = [
        split(model, bases[prompt], answer, join)
        for (prompt, answer), join in zip(pairs, written, strict=True)
    ]
    scores, following = _scored(model, asked, budget)
    if model.join is None:
        heards = [
            heard(model, bases[prompt], answer, following[i])
            for i, (prompt, answer) in enumerate(pairs)
        ]
        again = [i for i, join in enumerate(heards) if join != written[i]]
        others, _ = _scored(
            model, [split(model, bases[pairs[i][0]], pairs[i][1], heards[i]) for i in again], budget
        )
        for i, score in zip(again, others, strict=True):
            scores[i] = score
    return _with_said(model, pairs, scores, [next(iter(best)) for best in following], budget)


def _with_said(
    model: RunningModel,
    pairs: Sequence[tuple[str, str]],
    scores: list[AnswerScore],
    firsts: Sequence[int],
    budget: int | None,
) -> list[AnswerScore]:
    """The scores with the exact-prefix match. Prompts whose first token rules every other spelling
    out are not completed.
    """
    starts = {token: model.token_text(token) for token in set(firsts)}
    open_ = [
        i
        for i, score in enumerate(scores)
        if not score.greedy and may_match(starts[firsts[i]], pairs[i][1])
    ]
    if not open_:
        return scores
    prompts = list(dict.fromkeys(pairs[i][0] for i in open_))
    tokens = max(scores[i].tokens for i in open_) + SPARE
    says = dict(zip(prompts, complete(model, prompts, tokens, budget), strict=True))
    for i in open_:
        scores[i] = replace(scores[i], said=matches(says[pairs[i][0]], pairs[i][1]))
    return scores


def _scored(
    model: RunningModel, asked: Sequence[Split], budget: int | None
) -> tuple[list[AnswerScore], list[dict[int, float]]]:
    """The scores, and the likeliest tokens behind each prompt."""
    scores: dict[int, AnswerScore] = {}
    following: dict[int, dict[int, float]] = {}
    budget = budget or model.tokens_at_once
    for batch in by_near_length(asked, lambda item: len(item.tokens), budget):
        streams = last_streams(model, model.padded([asked[i].tokens.ids for i in batch])[0])
        spans = [asked[i].answer for i in batch]
        wide = [end - start + 1 for start, end in spans]
        read = torch.cat([streams[row, start - 1 : end] for row, (start, end) in enumerate(spans)])
        firsts = [0, *itertools.accumulate(wide)][:-1]
        targets = [
            token
            for i, (start, end) in zip(batch, spans, strict=True)
            for token in (*asked[i].tokens.ids[start:end], 0)
        ]
        best, logprobs = _read(
            model, read, torch.tensor(targets), dict(zip(firsts, batch, strict=True)), following
        )
        for i, first, width in zip(batch, firsts, wide, strict=True):
            answer, last = tuple(targets[first : first + width - 1]), first + width - 1
            greedy = tuple(best[first:last]) == answer and not _continues(model, answer, best[last])
            scores[i] = AnswerScore(float(logprobs[first:last].sum()), len(answer), greedy, greedy)
    return [scores[i] for i in range(len(asked))], [following[i] for i in range(len(asked))]


def _read(
    model: RunningModel,
    streams: Tensor,
    targets: Tensor,
    firsts: dict[int, int],
    following: dict[int, dict[int, float]],
) -> tuple[list[int], Float[Tensor, " row"]]:
    """The likeliest token at each row and the target's log-probability; what may follow the prompts
    is noted, by number.
    """
    best, logprobs = list[int](), [torch.empty(0)]
    for some, logits in unembedded(model, streams):
        picked = logits.gather(-1, targets[some, None].to(logits.device))[:, 0]
        best += logits.argmax(-1).tolist()
        logprobs.append((picked - logits.logsumexp(-1)).cpu())
        for row in range(some.start, some.start + len(logits)):
            if row in firsts:
                following[firsts[row]] = next_of(logits[row - some.start])
    return best, torch.cat(logprobs)


def answer_row(
    model: RunningModel, prompt: str, answer: str, against: str | None = None
) -> Float[Tensor, " d_vocab"]:
    """1 at the answer's first token, −1 at that of `against`: times logits, a score. Raises
    `FactError` where both begin alike.
    """
    row = torch.zeros(model.d_vocab, device=model.device)
    (join,) = joins(model, [prompt], [answer])
    for text, sign in ((answer, 1), (against, -1)):
        if text is not None:
            tokens, (first, _) = with_answer(model, prompt, text, join)
            row[tokens.ids[first]] += sign
    if not row.any():
        raise FactError(
            f"{answer!r} and {against!r} begin with the same token: nothing tells them apart there"
        )
    return row


def _continues(model: RunningModel, answer: Sequence[int], following: int) -> bool:
    """Whether the next token would lengthen the answer's last word: then the answer was not given,
    but a longer one.
    """
    if following == model.tokenizer.bos_token_id or following in end_tokens(model):
        return False
    alone = model.decode(answer)
    more = model.decode([*answer, following])
    return more.startswith(alone) and within_word(more, len(alone))


@torch.no_grad()
def complete(
    model: RunningModel, prompts: Sequence[str], tokens: int = 8, budget: int | None = None
) -> list[str]:
    """Greedy completions of `tokens` tokens (fewer where the model ends the text), without the
    prompt.
    """
    asked = model.tokenize_all(prompts, model.n_ctx)
    made = continue_all(model, [own.ids for own in asked], tokens, budget=budget)
    return [model.decode(each.ids) for each in made]


@torch.no_grad()
def next_tokens(model: RunningModel, prompt: str, count: int = 10) -> list[tuple[str, float]]:
    """The likeliest next tokens with their probabilities."""
    logits = finite(model(model.ids([model.tokenize(prompt).ids]), last=1), model)
    probabilities = logits[0, -1].float().softmax(-1)
    top = probabilities.topk(count)
    return [
        (model.token_text(token), p)
        for token, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def first_sentence(text: str) -> str:
    """A completion up to the end of its first sentence or line, in any script: the answer."""
    return SENTENCE_END.split(text.lstrip(), maxsplit=1)[0].strip()
