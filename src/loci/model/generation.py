"""Text that a model goes on with: the likeliest token each time, or a sample; nothing else has a
say.

    greedy   token ← argmax of the last logits
    sample   token ~ softmax of the last logits, or of the `likeliest` largest of them, among the
             tokens of text: none that only steers a model (`control_tokens`)

A checkpoint's own generation settings (repetition penalty, forbidden, forced or suppressed tokens,
beams, temperature, stop strings) are neither used nor changed. Taken from them is only which tokens
end a text.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from loci.model.running import RunningModel
from loci.model.tokenised import Ids, by_near_length


def end_tokens(model: RunningModel) -> frozenset[int]:
    """Tokens that end a text: those of the tokenizer, the configuration and the generation
    settings, one or a list in each.
    """
    places = (
        model.tokenizer,
        model.config,
        model.hf.config,
        getattr(model.hf, "generation_config", None),
    )
    given = [token for place in places for token in _tokens(getattr(place, "eos_token_id", None))]
    return frozenset(token for token in given if 0 <= token < model.d_vocab)


def _tokens(given: Any) -> list[int]:
    """None, one token, or several."""
    if isinstance(given, Tensor):
        given = given.tolist()
    several = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    return [token for token in several if isinstance(token, int) and not isinstance(token, bool)]


MARKER = re.compile(r"\[\w+\]|<\w*_\w*>|<\|.*\|>")
"""How added tokens are spelt that stand for no text, though the tokenizer does not say so:
<start_of_image>, [multimodal], <|tool|>; but not <b>.
"""


def control_tokens(model: RunningModel) -> frozenset[int]:
    """Tokens that steer a model or stand for what is no text: the tokenizer's special ones, and
    added ones spelt as markers; but none that ends a text.
    """
    added: dict[int, Any] = getattr(model.tokenizer, "added_tokens_decoder", {})
    controls = {
        token for token, entry in added.items() if entry.special or MARKER.fullmatch(str(entry))
    }
    return frozenset(token for token in controls if token < model.d_vocab) - end_tokens(model)


Enough = Callable[[int, list[int]], bool]
"""Whether a row, by its number, needs no more than these tokens."""
SPREAD = 6
"""By how much the lengths of prompts may differ that are continued together: each token more is a
pass more.
"""
LARGE = 100_000
"""Vocabularies from here on are drawn from by their cumulated probabilities: `multinomial` makes a
random number for each token.
"""


@torch.no_grad()
def generate(
    model: RunningModel,
    ids: Ids,
    tokens: int,
    *,
    least: int = 0,
    sample: bool = False,
    likeliest: int | None = None,
    enough: Enough | None = None,
) -> list[list[int]]:
    """Up to `tokens` further tokens for each row of equally long prompts, without the prompt and
    without the token that ends a text.

    No text ends before it has `least` tokens; none becomes longer than the context, and one token
    at least is made. Samples use torch's global generator, as it is seeded outside. Cost: a forward
    pass over the prompts, then one over a single position for each token; only the last position is
    unembedded.
    """
    made = continuations(
        model,
        ids,
        tokens,
        least=least,
        sample=sample,
        likeliest=likeliest,
        enough=enough,
        weighed=False,
    )
    return [row.ids for row in made]


class Made(NamedTuple):
    """Tokens that a model went on with."""

    ids: list[int]
    probabilities: list[float]
    """P of each token, given the prompt and the tokens before it."""


@torch.no_grad()
def continuations(
    model: RunningModel,
    ids: Ids,
    tokens: int,
    *,
    lengths: Sequence[int] | None = None,
    least: int = 0,
    sample: bool = False,
    likeliest: int | None = None,
    enough: Enough | None = None,
    weighed: bool = True,
) -> list[Made]:
    """As `generate`, with the probability of each token where it is `weighed`; prompts may have
    `lengths`, and are padded on the right. All ends where each row has ended, or `enough` says so
    of its tokens.

    Nothing attends to padding: all rows go on from the shortest prompt's end, and where a prompt is
    longer its own token stands in place of the one that is chosen.
    """
    model.hf.eval()
    long = list(lengths or [ids.shape[1]] * len(ids))
    begin = min(long)
    room = None if model.n_ctx is None else model.n_ctx + 1
    due = [n + (tokens if room is None else max(1, min(tokens, room - n))) for n in long]
    stops = end_tokens(model)
    ends = torch.tensor(sorted(stops), dtype=torch.long, device=ids.device)
    never = torch.tensor(sorted(control_tokens(model)) if sample else [], device=ids.device)
    starts = torch.tensor(long, device=ids.device)
    limits = torch.tensor(due, device=ids.device)
    so_far, probabilities = ids[:, :begin], list[list[float]]()
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    accepted = inspect.signature(model.hf.forward).parameters
    keep = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
    asked, past = so_far, None
    for at in range(begin, max(due)):
        mask = torch.ones_like(so_far)
        out: Any = model.hf(
            input_ids=asked, attention_mask=mask, past_key_values=past, use_cache=True, **keep
        )
        scores, past = out.logits[:, -1].float(), out.past_key_values
        scores = _allowed(scores, at - starts < least, ends, never)
        chosen = _drawn(scores, likeliest) if sample else scores.argmax(-1)
        given = at < starts
        chosen = torch.where(given, ids[:, min(at, ids.shape[1] - 1)], chosen)
        asked = chosen[:, None]
        so_far = torch.cat([so_far, asked], 1)
        if weighed:
            logprobs = scores.gather(-1, asked)[:, 0] - scores.logsumexp(-1)
            probabilities.append(logprobs.exp().tolist())
        ended |= ~given & (torch.isin(chosen, ends) | (at + 1 >= limits))
        if enough is not None:
            so_long = enumerate(zip(so_far.tolist(), long, strict=True))
            full = [at >= n and enough(i, row[n:]) for i, (row, n) in so_long]
            ended |= torch.tensor(full, device=ids.device)
        if bool(ended.all()):
            break
    rows = [
        _until(row[n:end], stops) for row, n, end in zip(so_far.tolist(), long, due, strict=True)
    ]
    weights = zip(*probabilities, strict=True) if weighed else [()] * len(rows)
    return [
        Made(row, list(column[n - begin :][: len(row)]))
        for row, n, column in zip(rows, long, weights, strict=True)
    ]


def _allowed(scores: Tensor, early: Tensor, ends: Tensor, never: Tensor) -> Tensor:
    """Scores without what may not come: an end in rows that are too short, what is no text."""
    if bool(early.any()):
        scores[early] = scores[early].index_fill(1, ends, -torch.inf)
    return scores.index_fill(1, never, -torch.inf) if len(never) else scores


def continue_all(
    model: RunningModel,
    prompts: Sequence[Sequence[int]],
    tokens: int,
    *,
    budget: int | None = None,
    least: int = 0,
    sample: bool = False,
    weighed: bool = False,
) -> list[Made]:
    """The continuation of each prompt, of any length: those of about one length together."""
    made: dict[int, Made] = {}
    budget = budget or model.tokens_at_once
    for batch in by_near_length(prompts, len, budget, model.rows_at_once, spread=SPREAD):
        rows = [prompts[i] for i in batch]
        some = continuations(
            model,
            model.padded(rows)[0],
            tokens,
            lengths=[len(row) for row in rows],
            least=least,
            sample=sample,
            weighed=weighed,
        )
        made |= dict(zip(batch, some, strict=True))
    return [made[i] for i in range(len(prompts))]


def _drawn(scores: Tensor, likeliest: int | None) -> Tensor:
    """One token of each row."""
    if likeliest is not None:
        least = scores.topk(min(likeliest, scores.shape[-1])).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    probabilities = scores.softmax(-1)
    if probabilities.shape[-1] <= LARGE:
        return torch.multinomial(probabilities, 1)[:, 0]
    summed = probabilities.double().cumsum(-1)
    drawn = torch.rand(len(summed), 1, dtype=summed.dtype).to(summed.device) * summed[:, -1:]
    return torch.searchsorted(summed, drawn, right=True)[:, 0].clamp(max=summed.shape[-1] - 1)


def _until(row: list[int], ends: frozenset[int]) -> list[int]:
    """The tokens before the first one that ends a text."""
    return row[: next((i for i, token in enumerate(row) if token in ends), len(row))]
