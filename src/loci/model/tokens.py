"""Text to tokens with characters kept: every token knows which characters of the text it came from.

The one place where it is decided what stands before a text. What a tokenizer itself puts before it
stays ([CLS], BOS), what it puts behind it goes (EOS, [SEP]): a prompt is to be continued. Where a
BOS is defined and the tokenizer does not add it, it is added; `bos=False` leaves everything before
the text away, `bos=True` insists on a BOS. A text that begins with a BOS of its own, as chat
templates write it, gets no second one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loci.errors import ModelError
from loci.facts import Span, token_span
from loci.validate import brief, one_line


@dataclass(frozen=True)
class Tokens:
    """A tokenised text. `offsets` are characters [start, end) of `text`; those of tokens that are
    not in the text are empty.
    """

    text: str
    ids: tuple[int, ...]
    offsets: tuple[Span, ...]
    names: Mapping[int, str] = field(default_factory=dict, hash=False)
    """The tokenizer's names of the tokens that have no characters, by position."""
    special: int = 0
    """How many tokens stand before the text. Tokens of the text itself may have no characters too,
    as the space before its first word.
    """

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> tuple[str, ...]:
        """The tokens as they stand in the text."""
        return tuple(
            self.text[a:b] if b > a else self.names[i] for i, (a, b) in enumerate(self.offsets)
        )

    def span(self, characters: Span) -> Span:
        """Tokens [start, end) that hold these characters."""
        return token_span(self.offsets, characters)


def tokenize(
    tokenizer: Any,
    text: str,
    limit: int | None = None,
    bos: bool | None = None,
    rows: int | None = None,
) -> Tokens:
    """The tokens of a text, behind what belongs before it.

    Raises `ModelError` for an empty text, for one of more than `limit` tokens, for a token that is
    none of the first `rows`, which the model has in its embedding, and for a tokenizer without
    offsets.
    """
    return tokenize_all(tokenizer, [text], limit, bos, rows)[0]


def tokenize_all(
    tokenizer: Any,
    texts: Sequence[str],
    limit: int | None = None,
    bos: bool | None = None,
    rows: int | None = None,
) -> list[Tokens]:
    """The same of many texts at once: a third of the time for each. Raises as `tokenize` does, for
    the first that is to be refused.
    """
    if not texts:
        return []
    if not all(text.strip() for text in texts):
        raise ModelError("the prompt is empty")
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{type(tokenizer).__name__} gives no character offsets: a fast tokenizer is needed (a"
            " tokenizer.json)"
        )
    encoding = _encoded(tokenizer, list(texts), bos is not False)
    parts = zip(
        texts,
        encoding["input_ids"],
        encoding["offset_mapping"],
        encoding["special_tokens_mask"],
        strict=True,
    )
    first = tokenizer.bos_token_id if bos is not False else None
    tokens = [_tokens(tokenizer, *part, first, limit) for part in parts]
    for own in tokens:
        check_rows(tokenizer, own.ids, rows, own.text)
    return tokens


def _encoded(tokenizer: Any, texts: list[str], special: bool) -> Any:
    """What the tokenizer makes of texts. Its own word on their length is not asked for: the context
    is the model's.
    """
    try:
        return tokenizer(
            texts,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            add_special_tokens=special,
            verbose=False,
        )
    except MemoryError:
        raise
    except Exception as error:  # tokenizers raises plain exceptions
        raise ModelError(
            f"the tokenizer fails on {brief(texts[0], 200)}: {one_line(str(error))}"
        ) from error


def _tokens(
    tokenizer: Any,
    text: str,
    ids: list[int],
    offsets: list[Span],
    masks: list[int],
    first: int | None,
    limit: int | None,
) -> Tokens:
    """One text's tokens without what the tokenizer puts behind it, and with `first` before it where
    one is said.
    """
    added = [bool(mask) and a == b for mask, (a, b) in zip(masks, offsets, strict=True)]
    while added and added[-1]:
        added.pop()
    ids, offsets = ids[: len(added)], offsets[: len(added)]
    special = added.index(False) if False in added else len(added)
    if special and ids[special : 2 * special] == ids[:special]:
        ids, offsets = ids[special:], offsets[special:]
    if first is not None and ids[:1] != [first]:
        ids, offsets, special = [first, *ids], [(0, 0), *offsets], special + 1
    while first is not None and ids[:2] == [first, first]:
        ids, offsets = ids[1:], offsets[1:]
    special = max(special, int(first is not None))
    if limit is not None and len(ids) > limit:
        raise ModelError(f"the prompt has {len(ids)} tokens; this model's context is {limit}")
    if not any(b > a for a, b in offsets):
        raise ModelError(f"the tokenizer finds no token in {brief(text, 200)}")
    names = {
        i: seen(str(tokenizer.convert_ids_to_tokens(ids[i])))
        for i, (a, b) in enumerate(offsets)
        if a == b
    }
    return Tokens(text, tuple(ids), tuple(offsets), names, special)


BLANKS = str.maketrans({"Ġ": "␣", "▁": "␣", "Ċ": "⏎"})
"""How blanks are written for eyes: byte-level tokenizers call them Ġ and Ċ, SentencePiece ▁."""


def seen(name: str) -> str:
    """A token of nothing but blanks as it is written for eyes; any other name as it is."""
    return name if name.strip("Ġ▁Ċ") else name.translate(BLANKS)


def check_rows(tokenizer: Any, ids: Sequence[int], rows: int | None, text: str) -> None:
    """Raise `ModelError` for a token without a row in the model's embedding, as where one was added
    to the tokenizer alone.
    """
    outside = (
        []
        if rows is None or max(ids, default=0) < rows
        else [token for token in ids if token >= rows]
    )
    if outside:
        name = tokenizer.convert_ids_to_tokens(outside[0])
        raise ModelError(
            f"the token {name!r} (number {outside[0]}) in {text[:80]!r} has no row in the model's"
            f" embedding of {rows} rows: leave it out of the text, or resize the embedding"
        )


def check_tokenizer(tokenizer: Any, rows: int, bos: bool | None) -> None:
    """Raise `ModelError` where what stands before every text is no token of the model, or there is
    no BOS though one is asked for.

    Further tokens without a row are refused where they are used.
    """
    first = tokenizer.bos_token_id
    if bos and first is None:
        raise ModelError(f"{type(tokenizer).__name__} defines no BOS token: leave bos (--bos) out")
    if bos is not False and first is not None and first >= rows:
        raise ModelError(
            f"the tokenizer's BOS {tokenizer.bos_token!r} is token {first}, the model has {rows}"
            " tokens: open it with bos=False (--no-bos)"
        )
