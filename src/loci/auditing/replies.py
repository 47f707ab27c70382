"""Ask a model a plain question: its greedy continuation, how sure it is of it, and what else it
might have said.

    says           greedy continuation, of at most so many tokens
    answer         its first word, and the words that belong to it (`loci.model.answer_rule`)
    probability    P(answer | prompt), of all its tokens
    next           the likeliest next tokens, each with its probability

Of a fact also whether its old and its new answer are said (the continuation begins with them), and
their probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch

from loci.errors import FactError, ModelError, UseError
from loci.facts import UNSAID, Fact
from loci.facts.cleaning import strip_prompt
from loci.facts.fact import FIRST_WORD
from loci.model import Model, by_length, complete, own_answers, score_answers
from loci.model.answer_rule import TOKENS
from loci.model.answers import finite
from loci.model.given import model_given
from loci.patches import Patch, applied
from loci.result import About, Result
from loci.stats import Estimate, share
from loci.tables import Table, columns

BUDGET = 2**27
"""Most logits at a time: 512 MiB in float32."""


LISTED = 10
"""Most replies that the summary has, each in a line."""


class AskedAnswer(NamedTuple):
    """An answer that a fact names, and whether the model gives it."""

    answer: str
    said: bool
    probability: float


class NextToken(NamedTuple):
    """A token that may come next."""

    token: str
    probability: float


class Reply(NamedTuple):
    """A model's reply to one prompt."""

    prompt: str
    says: str
    answer: str
    probability: float
    next: tuple[NextToken, ...]
    old: AskedAnswer | None = None
    new: AskedAnswer | None = None
    warning: str | None = None
    """Why the answer is hardly one: a function word, or an improbable one."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt,
            "says": self.says,
            "answer": self.answer,
            "probability": self.probability,
            "next": [token._asdict() for token in self.next],
            "old": self.old._asdict() if self.old is not None else None,
            "new": self.new._asdict() if self.new is not None else None,
            "warning": self.warning,
        }


@dataclass(frozen=True)
class Replies(Result):
    """A model's replies to prompts."""

    about: ClassVar[About] = About(
        "questions asked",
        "What does the model say, how sure is it, and what else might it have said?",
        "",
        "auditing.replies_figure",
    )

    model: str
    bos: bool
    patch: str | None
    """Of the patch that was on the model, its id."""
    tokens: int
    replies: tuple[Reply, ...]
    shots: int = 0
    """So many other facts stood before each prompt (`loci.model.frames`)."""
    chat: bool = False
    """Whether prompts stood in the model's chat template."""

    @property
    def old(self) -> Estimate:
        """Share of the facts whose old answer is said."""
        return share([reply.old.said for reply in self.replies if reply.old is not None])

    @property
    def new(self) -> Estimate:
        """Share of the facts whose new answer is said."""
        return share([reply.new.said for reply in self.replies if reply.new is not None])

    def title(self) -> str:
        return f"{len(self.replies)} question{'s' * (len(self.replies) != 1)} to {self.model}"

    def summary(self) -> tuple[str, ...]:
        few = self.replies if len(self.replies) <= LISTED else ()
        return (
            *(f"{reply.prompt} {reply.answer or '(nothing)'}" for reply in few),
            *(
                f"{round(own.value * own.n)} of {own.n} {name} answers are said (95 % interval"
                f" {own.low:.0%} … {own.high:.0%})"
                for name, own in (("new", self.new), ("old", self.old))
                if own.n
            ),
        )

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                reply.prompt,
                reply.answer or "(nothing)",
                reply.probability,
                ", ".join(f"{token.strip() or repr(token)} {p:.3f}" for token, p in reply.next),
                _asked(reply.new),
                _asked(reply.old),
            )
            for reply in self.replies
        )
        notes = dict.fromkeys(
            reply.warning.partition(": say")[0].partition("; say")[0]
            for reply in self.replies
            if reply.warning
        )
        heads = columns("prompt", "answer", "P|.3f", "next tokens", "new answer", "old answer")
        shown = [i for i in range(len(heads)) if i < 3 or any(row[i] for row in rows)]
        chosen = tuple(tuple(row[i] for i in shown) for row in rows)
        return (Table("", tuple(heads[i] for i in shown), chosen, note="; ".join(notes)),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.ask/1",
            "model": self.model,
            "bos": self.bos,
            "patch": self.patch,
            "tokens": self.tokens,
            "shots": self.shots,
            "chat": self.chat,
            "answer_rule": FIRST_WORD,
            "old": self.old.to_dict(),
            "new": self.new.to_dict(),
            "replies": [reply.to_dict() for reply in self.replies],
        }


def _asked(answer: AskedAnswer | None) -> str:
    """Whether an answer is said, and how likely it is."""
    if answer is None:
        return ""
    return f"{'said' if answer.said else 'not said'} {answer.answer} {answer.probability:.3f}"


def ask(
    model: Model,
    prompts: str | Fact | Sequence[str | Fact],
    *,
    patch: Patch | None = None,
    tokens: int = 12,
    top: int = 5,
) -> Replies:
    """Greedy continuations of prompts or of facts, with their probabilities and alternatives.

        loci.ask(model, "Michael Jordan plays the sport of").replies[0].answer      # 'basketball'
        loci.ask(model, facts, patch=patch).new     # share of facts whose new answer is said

    Args:
        model: an open model; it is left as it was.
        prompts: texts or facts, one or several.
        patch: applied meanwhile.
        tokens: most tokens of a continuation.
        top: next tokens listed for each prompt.

    Returns: `Replies`, with `replies` in the order of the prompts.
    Raises: `FactError` for no prompt or an empty one, `PatchError` where the patch is of another
        base.
    Cost: Two forward passes a prompt and `tokens` short ones, in batches.
    """
    model_given(model)
    asked = [prompts] if isinstance(prompts, (str, Fact)) else list(prompts)
    wrong = next((item for item in asked if not isinstance(item, (str, Fact))), None)
    if wrong is not None:
        raise UseError(f"expected prompts or facts, not {type(wrong).__name__}")
    if not asked:
        raise FactError("there is nothing to ask")
    if tokens < 1 or not 0 <= top <= model.d_vocab:
        raise ModelError(
            f"expected tokens ≥ 1 and 0 ≤ top ≤ {model.d_vocab:,}, not {tokens} and {top}"
        )
    texts = [strip_prompt(item) if isinstance(item, str) else item.text for item in asked]
    with applied(model, patch):
        answers = own_answers(model, texts, max(tokens, TOKENS))
        says = [own.says for own in answers] if tokens >= TOKENS else complete(model, texts, tokens)
        ladders = next_words(model, texts, top)
        wanted = _wanted(model, asked)
    replies = tuple(
        Reply(text, completion, own.text, own.probability, ladder, *both, warning=own.warning)
        for text, completion, own, ladder, both in zip(
            texts, says, answers, ladders, wanted, strict=True
        )
    )
    return Replies(
        model.name, model.with_bos, patch.id if patch is not None else None, tokens, replies
    )


def _wanted(
    model: Model, asked: Sequence[str | Fact]
) -> list[tuple[AskedAnswer | None, AskedAnswer | None]]:
    """Old and new answer of each fact, with their scores."""
    named = [
        (item.answer, item.new_answer) if isinstance(item, Fact) else (None, None) for item in asked
    ]
    pairs = [
        (item.text, answer)
        for item, both in zip(asked, named, strict=True)
        if isinstance(item, Fact)
        for answer in both
        if answer is not None and answer != UNSAID
    ]
    scores = dict(zip(pairs, score_answers(model, pairs), strict=True))

    def score(item: str | Fact, answer: str | None) -> AskedAnswer | None:
        if not isinstance(item, Fact) or answer is None or answer == UNSAID:
            return None
        answer_score = scores[item.text, answer]
        return AskedAnswer(answer, answer_score.said, answer_score.probability)

    return [
        (score(item, old), score(item, new)) for item, (old, new) in zip(asked, named, strict=True)
    ]


@torch.no_grad()
def next_words(model: Model, prompts: Sequence[str], top: int) -> list[tuple[NextToken, ...]]:
    """The likeliest next tokens of each prompt, with their probabilities.

    Cost: one forward pass over all.
    """
    tokens = [model.tokenize(prompt).ids for prompt in prompts]
    by_prompt: dict[int, tuple[NextToken, ...]] = {}
    for batch in by_length(tokens, len, max(1, BUDGET // model.d_vocab)):
        logits = finite(model(model.ids([tokens[i] for i in batch]))[:, -1].float(), model)
        best = logits.softmax(-1).topk(top)
        for i, values, ids in zip(batch, best.values.tolist(), best.indices.tolist(), strict=True):
            by_prompt[i] = tuple(
                NextToken(model.token_text(token), p) for token, p in zip(ids, values, strict=True)
            )
    return [by_prompt[i] for i in range(len(prompts))]
