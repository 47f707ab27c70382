"""What a model answers: greedy completions, and how it scores a given answer.

The greedy completion of a prompt begins with an answer exactly when, with the answer fed to the model, every one of its tokens is
the likeliest at its place (induction over the tokens). One forward pass therefore decides what free generation would say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError, ModelError
from loci.facts import Span
from loci.facts.scripts import within_word
from loci.model.generation import end_tokens, generate
from loci.model.invariants import broken
from loci.model.model import Logits, Model, by_length
from loci.model.tokens import Tokens

BUDGET = 8192  # tokens a batch: logits of 8192 × 50k vocabulary in float32 are 1.6 GB


@dataclass(frozen=True)
class AnswerScore:
    """How a model scores an answer behind a prompt."""

    logprob: float
    """Natural log of the probability of all its tokens."""
    tokens: int
    greedy: bool
    """Whether free greedy generation gives this answer in full, and then no further letter of the same word."""

    @property
    def probability(self) -> float:
        return float(torch.tensor(self.logprob).exp())

    @property
    def mean_logprob(self) -> float:
        """Per token: what the literature compares."""
        return self.logprob / self.tokens


@torch.no_grad()
def score_answers(model: Model, pairs: Sequence[tuple[str, str]], budget: int = BUDGET) -> list[AnswerScore]:
    """Score each (prompt, answer). One forward pass over all, in batches of equal length of at most `budget` tokens."""
    split = [with_answer(model, prompt, answer) for prompt, answer in pairs]
    scores: dict[int, AnswerScore] = {}
    for batch in by_length(split, lambda item: len(item[0]), budget):
        logits = finite(model(model.ids([split[i][0].ids for i in batch])).float(), model)
        best, logprobs = logits.argmax(-1).tolist(), logits.log_softmax(-1)
        for row, index in enumerate(batch):
            tokens, (start, end) = split[index]
            answer = tokens.ids[start:end]
            logprob = sum(float(logprobs[row, start + k - 1, token]) for k, token in enumerate(answer))
            greedy = tuple(best[row][start - 1 : end - 1]) == answer and not _continues(model, answer, best[row][end - 1])
            scores[index] = AnswerScore(logprob, len(answer), greedy)
    return [scores[i] for i in range(len(pairs))]


def finite(logits: Logits, model: Model) -> Logits:
    """The logits, or a `ModelError` where they hold NaN or infinity: nothing that is computed from those means anything."""
    if not logits.isfinite().all():
        raise ModelError(f"{model.name!r} gives logits that are not finite: {broken(model)}")
    return logits


def with_answer(model: Model, prompt: str, answer: str) -> tuple[Tokens, Span]:
    """Tokens of `prompt answer`, and which of them hold the answer; the tokens before those are the prompt's. Raises `FactError` for no answer."""
    if not answer.strip():
        raise FactError("the answer is empty")
    text = f"{prompt} {answer}"
    tokens = model.tokenize(text)
    return tokens, tokens.span((len(prompt), len(text)))


def answer_row(model: Model, prompt: str, answer: str, against: str | None = None) -> Float[Tensor, " d_vocab"]:
    """1 at the answer's first token, −1 at that of `against`: times logits, a score. Raises `FactError` where both begin alike."""
    row = torch.zeros(model.d_vocab, device=model.device)
    for text, sign in ((answer, 1), (against, -1)):
        if text is not None:
            tokens, (first, _) = with_answer(model, prompt, text)
            row[tokens.ids[first]] += sign
    if not row.any():
        raise FactError(f"{answer!r} and {against!r} begin with the same token: nothing tells them apart there")
    return row


def _continues(model: Model, answer: Sequence[int], following: int) -> bool:
    """Whether the next token would lengthen the answer's last word: then the answer was not given, but a longer one."""
    if following == model.tokenizer.bos_token_id or following in end_tokens(model):
        return False
    alone = model.decode(answer)
    more = model.decode([*answer, following])
    return more.startswith(alone) and within_word(more, len(alone))


@torch.no_grad()
def complete(model: Model, prompts: Sequence[str], tokens: int = 8, budget: int = BUDGET) -> list[str]:
    """Greedy completions of `tokens` tokens (fewer where the model ends the text), without the prompt."""
    asked = [model.tokenize(prompt) for prompt in prompts]
    texts: dict[int, str] = {}
    for batch in by_length(asked, len, budget):
        ids = model.ids([asked[i].ids for i in batch])
        for index, made in zip(batch, generate(model, ids, tokens), strict=True):
            texts[index] = model.decode(made)
    return [texts[i] for i in range(len(prompts))]


@torch.no_grad()
def next_tokens(model: Model, prompt: str, count: int = 10) -> list[tuple[str, float]]:
    """The likeliest next tokens with their probabilities."""
    logits = finite(model(model.ids([model.tokenize(prompt).ids])), model)
    probabilities = logits[0, -1].float().softmax(-1)
    top = probabilities.topk(count)
    return [(model.token_text(token), p) for token, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)]


def first_sentence(text: str) -> str:
    """A completion up to the end of its first sentence or line: the answer."""
    return text.split("\n")[0].split(".")[0].strip()


def answer_of(model: Model, prompt: str, tokens: int = 12) -> str:
    """The model's own answer to a prompt: its greedy completion up to the end of the sentence, or its first word if none ends.

    Raises `ModelError` where it says nothing.
    """
    answer = answer_in(complete(model, [prompt], tokens)[0])
    if not answer:
        raise ModelError(f"{model.name!r} says nothing after {prompt!r}: say what the answer is")
    return answer


def answer_in(text: str) -> str:
    """The answer in a completion: up to the end of its first sentence, or its first word where none ends; empty where it says nothing."""
    answer = first_sentence(text)
    words = answer.split()
    return answer if len(answer) < len(text.rstrip()) or len(words) < 2 else words[0]
