"""From characters to tokens: where the subject of a prompt stands, by offsets on the whole tokenised string."""

from collections.abc import Sequence

from loci.errors import FactError

Span = tuple[int, int]


def occurrences(text: str, part: str) -> list[Span]:
    """Characters [start, end) of every place where `part` stands in `text` as whole words.

    "Jordan" is found in "Jordan's" and not in "Jordanian". Places may not overlap.
    """
    spans, start = [], text.find(part) if part else -1
    while start >= 0:
        end = start + len(part)
        whole = not (_joins(text, start) or _joins(text, end))
        if whole:
            spans.append((start, end))
        start = text.find(part, end if whole else start + 1)
    return spans


def _joins(text: str, at: int) -> bool:
    """Whether the characters on both sides of a boundary belong to one word."""
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


def find_span(text: str, part: str, occurrence: int | None = None) -> Span:
    """The characters of `part` in `text`; where it stands more than once, `occurrence` (0, 1, …, or −1 for the last) says which."""
    spans = occurrences(text, part)
    if not spans:
        raise FactError(f"the subject {part!r} does not stand in the prompt {text!r}")
    if occurrence is None:
        if len(spans) > 1:
            raise FactError(
                f"the subject {part!r} stands {len(spans)} times in {text!r}: say which with occurrence (0 … {len(spans) - 1})"
            )
        occurrence = 0
    if not -len(spans) <= occurrence < len(spans):
        raise FactError(f"the subject {part!r} stands {len(spans)} times in {text!r}; there is no occurrence {occurrence}")
    return spans[occurrence]


def token_span(offsets: Sequence[Span], span: Span) -> Span:
    """Tokens [start, end) that share at least one character with `span`.

    `offsets` are the tokens' characters [start, end) in the same string; special tokens have empty ones and match nothing.
    A token may begin with the space before a word, or hold more than the span: it counts.
    """
    inside = [i for i, (start, end) in enumerate(offsets) if max(start, span[0]) < min(end, span[1])]
    if not inside:
        raise FactError(f"no token covers the characters {span[0]}…{span[1]}: does the tokenizer give offsets?")
    return inside[0], inside[-1] + 1
