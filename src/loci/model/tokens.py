"""Text to tokens with characters kept: every token knows which characters of the text it came from.

The one place where it is decided what stands before a text. What a tokenizer itself puts before it stays ([CLS], BOS), what it puts
behind it goes (EOS, [SEP]): a prompt is to be continued. Where a BOS is defined and the tokenizer does not add it, it is added;
`bos=False` leaves everything before the text away, `bos=True` insists on a BOS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loci.errors import ModelError
from loci.facts import Span, token_span


@dataclass(frozen=True)
class Tokens:
    """A tokenised text. `offsets` are characters [start, end) of `text`; those of tokens that are not in the text are empty."""

    text: str
    ids: tuple[int, ...]
    offsets: tuple[Span, ...]
    names: Mapping[int, str] = field(default_factory=dict, hash=False)
    """What the tokenizer calls the tokens that have no characters, by position."""
    special: int = 0
    """How many tokens stand before the text. Tokens of the text itself may have no characters too, as the space before its first word."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> tuple[str, ...]:
        """The tokens as they stand in the text."""
        return tuple(self.text[a:b] if b > a else self.names[i] for i, (a, b) in enumerate(self.offsets))

    def span(self, characters: Span) -> Span:
        """Tokens [start, end) that hold these characters."""
        return token_span(self.offsets, characters)


def tokenize(tokenizer: Any, text: str, limit: int | None = None, bos: bool | None = None) -> Tokens:
    """The tokens of a text, behind what belongs before it.

    Raises `ModelError` for an empty text, for one of more than `limit` tokens, and for a tokenizer without offsets.
    """
    return tokenize_all(tokenizer, [text], limit, bos)[0]


def tokenize_all(tokenizer: Any, texts: Sequence[str], limit: int | None = None, bos: bool | None = None) -> list[Tokens]:
    """The same of many texts at once: a third of the time for each. Raises as `tokenize` does, for the first that is to be refused."""
    if not texts:
        return []
    if not all(text.strip() for text in texts):
        raise ModelError("the prompt is empty")
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{type(tokenizer).__name__} gives no character offsets: a fast tokenizer is needed (a tokenizer.json)")
    found = tokenizer(
        list(texts), return_offsets_mapping=True, return_special_tokens_mask=True, add_special_tokens=bos is not False
    )
    parts = zip(texts, found["input_ids"], found["offset_mapping"], found["special_tokens_mask"], strict=True)
    first = tokenizer.bos_token_id if bos is not False else None
    return [_tokens(tokenizer, *part, first, limit) for part in parts]


def _tokens(
    tokenizer: Any, text: str, ids: list[int], offsets: list[Span], masks: list[int], first: int | None, limit: int | None
) -> Tokens:
    """One text's tokens without what the tokenizer puts behind it, and with `first` before it where one is said."""
    added = [bool(mask) and a == b for mask, (a, b) in zip(masks, offsets, strict=True)]
    while added and added[-1]:
        added.pop()
    ids, offsets = ids[: len(added)], offsets[: len(added)]
    special = added.index(False) if False in added else len(added)
    if first is not None and ids[:1] != [first]:
        ids, offsets, special = [first, *ids], [(0, 0), *offsets], special + 1
    if limit is not None and len(ids) > limit:
        raise ModelError(f"the prompt has {len(ids)} tokens; this model's context is {limit}")
    if not any(b > a for a, b in offsets):
        raise ModelError(f"the tokenizer finds no token in {text!r}")
    names = {i: str(tokenizer.convert_ids_to_tokens(ids[i])) for i, (a, b) in enumerate(offsets) if a == b}
    return Tokens(text, tuple(ids), tuple(offsets), names, special)


def check_tokenizer(tokenizer: Any, d_vocab: int, bos: bool | None) -> None:
    """Raise `ModelError` where a tokenizer has tokens that the model does not know, or no BOS though one is asked for."""
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= d_vocab:
        raise ModelError(f"the tokenizer has token {largest}, the model only {d_vocab} tokens: they do not belong together")
    if bos and tokenizer.bos_token_id is None:
        raise ModelError(f"{type(tokenizer).__name__} defines no BOS token: leave bos (--bos) out")
