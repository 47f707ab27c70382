"""How an answer joins its prompt: behind a space, or behind nothing, as behind Chinese, a bracket,
or a chat template's line break.

What is said on opening (`join="space"` or `"nothing"`) holds for all prompts. Else it is found out,
prompt by prompt:

1. by writing: nothing, behind white space, a script without spaces, an opening bracket or quote, a
   currency sign or a special token; a space elsewhere;
2. unless the model itself says otherwise: its likeliest next token is the answer's first token
   written the other way, or nine tenths of what it would go on with (of its ten likeliest tokens,
   those that begin a word) is written the other way.

The tokens of the prompt are those of the prompt alone, whatever follows: so what is scored and
taught is what the model would go on with.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError, ModelError
from loci.facts import Span
from loci.facts.scripts import hangul, unspaced
from loci.model.running import RunningModel
from loci.model.tokenised import by_near_length
from loci.model.tokens import Tokens
from loci.model.unembedding import last_streams, unembedded

SPACE, NOTHING = " ", ""
OTHER = {SPACE: NOTHING, NOTHING: SPACE}
PAIRED = '"`*'
"""Signs that open and close: an odd number of them is still open."""
LIKELIEST = 10
CLEAR, HEARD = 0.9, 0.2
"""Of the probability of tokens that begin a word, the share that overrules the writing; and how
much of all there must be.
"""
STARTS = ("\n", ".", ":", "。", "a")
"""Texts behind which a text is tokenised as in the middle of another."""


class Split(NamedTuple):
    """A prompt with its answer, and which of the tokens are the answer; those before are the
    prompt's.
    """

    tokens: Tokens
    answer: Span


def by_writing(prompt: str, specials: Sequence[str] = ()) -> str:
    """The join as people write it."""
    end, before = prompt[-1:], prompt[-2:-1]
    if not end or end.isspace() or prompt.endswith(tuple(filter(None, specials))):
        return NOTHING
    if hangul(end):
        return SPACE
    kind = unicodedata.category(end)
    if unspaced(end) or (kind.startswith("P") and unicodedata.east_asian_width(end) in "WF"):
        return NOTHING
    if kind in ("Ps", "Pi", "Sc") or end in "¿¡#@/":
        return NOTHING
    if end in PAIRED:
        return NOTHING if prompt.count(end) % 2 else SPACE
    if end == "'":
        return (
            SPACE
            if before and not before.isspace() and unicodedata.category(before) not in ("Ps", "Pi")
            else NOTHING
        )
    return NOTHING if end == "-" and before.isalnum() else SPACE


@torch.no_grad()
def joins(
    model: RunningModel, prompts: Sequence[str], answers: Sequence[str] | None = None
) -> list[str]:
    """The text between each prompt and its answer. Cost: a forward pass over the prompts, unless
    the model was opened with a join.
    """
    if model.join is not None:
        return [model.join] * len(prompts)
    distinct = list(dict.fromkeys(prompts))
    tokens = model.tokenize_all(distinct, model.n_ctx)
    logits: dict[str, dict[int, float]] = {}
    for batch in by_near_length(tokens, len, model.tokens_at_once):
        streams = last_streams(model, model.padded([tokens[i].ids for i in batch])[0])
        ends = [len(tokens[i]) - 1 for i in batch]
        for some, rows in unembedded(model, streams[range(len(batch)), ends]):
            for i, row in zip(batch[some], rows, strict=True):
                logits[distinct[i]] = next_of(row)
    bases = dict(zip(distinct, tokens, strict=True))
    wanted: Sequence[str | None] = [None] * len(prompts) if answers is None else answers
    return [
        heard(model, bases[prompt], answer, logits[prompt])
        for prompt, answer in zip(prompts, wanted, strict=True)
    ]


def next_of(logits: Float[Tensor, " d_vocab"]) -> dict[int, float]:
    """The likeliest next tokens with their probabilities, the likeliest first."""
    best = logits.topk(min(LIKELIEST, len(logits)))
    return dict(
        zip(best.indices.tolist(), (best.values - logits.logsumexp(-1)).exp().tolist(), strict=True)
    )


def heard(
    model: RunningModel, base: Tokens, answer: str | None, following: Mapping[int, float]
) -> str:
    """The join by the rule above, from the prompt's tokens and what the model would say behind
    it.
    """
    written = written_join(model, base.text)
    best = next(iter(following))
    if answer is not None:
        first, other = (split(model, base, answer, join) for join in (written, OTHER[written]))
        firsts = [joined.tokens.ids[joined.answer[0]] for joined in (first, other)]
        if best in firsts and firsts[0] != firsts[1]:
            return written if best == firsts[0] else OTHER[written]
    share = {SPACE: 0.0, NOTHING: 0.0}
    for token, probability in following.items():
        lead = leads(model, token)
        if lead is not None:
            share[lead] += probability
    total = share[SPACE] + share[NOTHING]
    return OTHER[written] if total >= HEARD and share[OTHER[written]] >= CLEAR * total else written


def written_join(model: RunningModel, prompt: str) -> str:
    """The join given on opening, or else the join as people write it."""
    return (
        by_writing(prompt, model.tokenizer.all_special_tokens) if model.join is None else model.join
    )


def leads(model: RunningModel, token: int) -> str | None:
    """The beginning of a token behind another one: a space, or at once a letter or digit. None
    where neither: it begins no word.
    """
    if token not in model.leads:
        before = model.tokenize("a").ids[-1:]
        text = model.decode([*before, token]).removeprefix(model.decode(before))
        begins = (
            SPACE if text.startswith(" ") and (text[1:2].isalnum() or not text.strip()) else None
        )
        model.leads[token] = NOTHING if text[:1].isalnum() else begins
    return model.leads[token]


def split(model: RunningModel, base: Tokens, answer: str, join: str) -> Split:
    """The tokens of a prompt, then those of its answer. Raises `FactError` for no answer,
    `ModelError` where both are too long.
    """
    if not answer.strip():
        raise FactError("the answer is empty")
    added = join + answer.strip()
    whole = model.tokenize(base.text + added)
    if whole.ids[: len(base)] != base.ids or len(whole) == len(base):
        ids, offsets = _continued(model.tokenizer, added)
        shifted = [(a + len(base.text), b + len(base.text)) for a, b in offsets]
        names = {
            len(base) + i: str(model.tokenizer.convert_ids_to_tokens(ids[i]))
            for i, (a, b) in enumerate(offsets)
            if a == b
        }
        whole = Tokens(
            base.text + added,
            (*base.ids, *ids),
            (*base.offsets, *shifted),
            {**base.names, **names},
            base.special,
        )
    if model.n_ctx is not None and len(whole) > model.n_ctx:
        raise ModelError(
            f"the prompt and its answer have {len(whole)} tokens; this model's context is"
            f" {model.n_ctx}"
        )
    return Split(whole, (len(base), len(whole)))


def _continued(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    """A text's tokens as they stand behind another, and their characters."""
    for start in STARTS:
        alone = tokenizer(start, add_special_tokens=False)["input_ids"]
        both = tokenizer(start + text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = both["input_ids"][len(alone) :], both["offset_mapping"][len(alone) :]
        if (
            both["input_ids"][: len(alone)] == alone
            and ids
            and all(a >= len(start) or a == b for a, b in offsets)
        ):
            return ids, [(max(0, a - len(start)), max(0, b - len(start))) for a, b in offsets]
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return encoding["input_ids"], encoding["offset_mapping"]


def with_answers(model: RunningModel, pairs: Sequence[tuple[str, str]]) -> list[Split]:
    """Tokens of each prompt with its answer, joined as `joins` finds."""
    texts = joins(model, [prompt for prompt, _ in pairs], [answer for _, answer in pairs])
    return [
        with_answer(model, prompt, answer, join)
        for (prompt, answer), join in zip(pairs, texts, strict=True)
    ]


def with_answer(model: RunningModel, prompt: str, answer: str, join: str | None = None) -> Split:
    """Tokens of a prompt with its answer, behind `join`, or as `joins` finds. Raises `FactError`
    for no answer.
    """
    if join is None:
        (join,) = joins(model, [prompt], [answer])
    return split(model, model.tokenize(prompt), answer, join)


def first_token(model: RunningModel, prompt: str, answer: str) -> int:
    """The first token of an answer behind a prompt. Raises `FactError` for no answer."""
    tokens, (start, _) = with_answer(model, prompt, answer)
    return tokens.ids[start]
