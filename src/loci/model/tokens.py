"""Text to tokens with characters kept: every token knows which characters of the text it came from.

The one place where it is decided what stands before a text. What a tokenizer itself puts before it stays ([CLS], BOS), what it puts
behind it goes (EOS, [SEP]): a prompt is to be continued. Where a BOS is defined and the tokenizer does not add it, it is added;
`bos=False` leaves everything before the text away, `bos=True` insists on a BOS.
"""

from dataclasses import dataclass
from typing import Any

from loci.errors import ModelError
from loci.facts import Span, token_span


@dataclass(frozen=True)
class Tokens:
    """A tokenised text. `offsets` are characters [start, end) of `text`; those of tokens that are not in the text are empty."""

    text: str
    ids: tuple[int, ...]
    offsets: tuple[Span, ...]
    labels: tuple[str, ...]
    special: int = 0
    """How many tokens stand before the text. Tokens of the text itself may have no characters too, as the space before its first word."""

    def __len__(self) -> int:
        return len(self.ids)

    def span(self, characters: Span) -> Span:
        """Tokens [start, end) that hold these characters."""
        return token_span(self.offsets, characters)


def tokenize(tokenizer: Any, text: str, limit: int | None = None, bos: bool | None = None) -> Tokens:
    """The tokens of a text, behind what belongs before it.

    Raises `ModelError` for an empty text, for one of more than `limit` tokens, and for a tokenizer without offsets.
    """
    if not text.strip():
        raise ModelError("the prompt is empty")
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{type(tokenizer).__name__} gives no character offsets: a fast tokenizer is needed (a tokenizer.json)")
    encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, add_special_tokens=bos is not False)
    ids, offsets = list(encoded["input_ids"]), [(int(a), int(b)) for a, b in encoded["offset_mapping"]]
    added = [bool(mask) and a == b for mask, (a, b) in zip(encoded["special_tokens_mask"], offsets, strict=True)]
    while added and added[-1]:
        added.pop()
    ids, offsets = ids[: len(added)], offsets[: len(added)]
    special = added.index(False) if False in added else len(added)
    first = tokenizer.bos_token_id
    if bos is not False and first is not None and ids[:1] != [first]:
        ids, offsets, special = [first, *ids], [(0, 0), *offsets], special + 1
    if limit is not None and len(ids) > limit:
        raise ModelError(f"the prompt has {len(ids)} tokens; this model's context is {limit}")
    if not any(b > a for a, b in offsets):
        raise ModelError(f"the tokenizer finds no token in {text!r}")
    labels = [text[a:b] if b > a else str(tokenizer.convert_ids_to_tokens(i)) for i, (a, b) in zip(ids, offsets, strict=True)]
    return Tokens(text, tuple(ids), tuple(offsets), tuple(labels), special)


def check_tokenizer(tokenizer: Any, d_vocab: int, bos: bool | None) -> None:
    """Raise `ModelError` where a tokenizer has tokens that the model does not know, or no BOS though one is asked for."""
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= d_vocab:
        raise ModelError(f"the tokenizer has token {largest}, the model only {d_vocab} tokens: they do not belong together")
    if bos and tokenizer.bos_token_id is None:
        raise ModelError(f"{type(tokenizer).__name__} defines no BOS token: leave bos (--bos) out")
