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
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from loci.model.running import RunningModel
from loci.model.tokenised import Ids


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
    least: int = 0,
    sample: bool = False,
    likeliest: int | None = None,
    enough: Enough | None = None,
    weighed: bool = True,
) -> list[Made]:
    """As `generate`, with the probability of each token where it is `weighed`. All ends where each
    row has ended, or `enough` says so of its tokens.
    """
    model.hf.eval()
    most = tokens if model.n_ctx is None else max(1, min(tokens, model.n_ctx - ids.shape[1] + 1))
    stops = end_tokens(model)
    ends = torch.tensor(sorted(stops), dtype=torch.long, device=ids.device)
    never = torch.tensor(sorted(control_tokens(model)) if sample else [], device=ids.device)
    made = torch.empty(len(ids), 0, dtype=torch.long, device=ids.device)
    probabilities = list[list[float]]()
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    keep = (
        {"logits_to_keep": 1}
        if "logits_to_keep" in inspect.signature(model.hf.forward).parameters
        else {}
    )
    asked, past = ids, None
    for step in range(most):
        mask = torch.ones(len(ids), ids.shape[1] + step, dtype=torch.long, device=ids.device)
        out: Any = model.hf(
            input_ids=asked, attention_mask=mask, past_key_values=past, use_cache=True, **keep
        )
        scores, past = out.logits[:, -1].float(), out.past_key_values
        if step < least:
            scores = scores.index_fill(1, ends, -torch.inf)
        if len(never):
            scores = scores.index_fill(1, never, -torch.inf)
        chosen = _drawn(scores, likeliest) if sample else scores.argmax(-1)
        made, asked = torch.cat([made, chosen[:, None]], 1), chosen[:, None]
        if weighed:
            probabilities.append(
                (scores.gather(-1, asked)[:, 0] - scores.logsumexp(-1)).exp().tolist()
            )
        ended |= torch.isin(chosen, ends)
        if enough is not None:
            ended |= torch.tensor(
                [enough(i, row) for i, row in enumerate(made.tolist())], device=ids.device
            )
        if bool(ended.all()):
            break
    rows = [_until(row, stops) for row in made.tolist()]
    columns = list(zip(*probabilities, strict=True)) if weighed else [()] * len(rows)
    return [Made(row, list(columns[i][: len(row)])) for i, row in enumerate(rows)]


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
