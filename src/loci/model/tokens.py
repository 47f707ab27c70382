"""Text to tokens with characters kept: every token knows which characters of the text it came from."""

from dataclasses import dataclass
from typing import Any

from loci.errors import ModelError
from loci.facts import Span, token_span


@dataclass(frozen=True)
class Tokens:
    """A tokenised text. `offsets` are characters [start, end) of `text`; the BOS token's are empty."""

    text: str
    ids: tuple[int, ...]
    offsets: tuple[Span, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def span(self, characters: Span) -> Span:
        """Tokens [start, end) that hold these characters."""
        return token_span(self.offsets, characters)


def tokenize(tokenizer: Any, text: str, limit: int) -> Tokens:
    """The tokens of a text behind one BOS, which is put there where the tokenizer defines one and does not add it itself.

    Raises `ModelError` for an empty text, for one of more than `limit` tokens, and for a tokenizer without offsets.
    """
    if not text.strip():
        raise ModelError("the prompt is empty")
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{type(tokenizer).__name__} gives no character offsets: a fast tokenizer is needed")
    encoded = tokenizer(text, return_offsets_mapping=True)
    ids, offsets = list(encoded["input_ids"]), [(int(a), int(b)) for a, b in encoded["offset_mapping"]]
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:1] != [bos]:
        ids, offsets = [bos, *ids], [(0, 0), *offsets]
    if len(ids) > limit:
        raise ModelError(f"the prompt has {len(ids)} tokens; this model's context is {limit}")
    labels = [text[a:b] if b > a else str(tokenizer.convert_ids_to_tokens(i)) for i, (a, b) in zip(ids, offsets, strict=True)]
    return Tokens(text, tuple(ids), tuple(offsets), tuple(labels))
