"""From characters to tokens: where the subject of a prompt stands, by offsets on the whole
tokenised string.
"""

import unicodedata
from collections.abc import Sequence

from loci.errors import FactError
from loci.facts.scripts import composed, within_word
from loci.validate import brief

Span = tuple[int, int]


def occurrences(text: str, part: str) -> list[Span]:
    """Characters [start, end) of every place where `part` stands in `text` as whole words.

    "Jordan" is found in "Jordan's" and not in "Jordanian"; in scripts without spaces every place
    counts. A letter and its accent may be one character in one and two in the other. Places may not
    overlap.
    """
    spans = _places(text, part)
    if spans or part.isascii() or not part:
        return spans
    whole, places = composed(text)
    composed_spans = _places(whole, unicodedata.normalize("NFC", part))
    return [
        (places[start], places[end])
        for start, end in composed_spans
        if start in places and end in places
    ]


def _places(text: str, part: str) -> list[Span]:
    spans, start = [], text.find(part) if part else -1
    while start >= 0:
        end = start + len(part)
        whole = not (within_word(text, start) or within_word(text, end))
        if whole:
            spans.append((start, end))
        start = text.find(part, end if whole else start + 1)
    return spans


def find_span(text: str, part: str, occurrence: int | None = None) -> Span:
    """The characters of `part` in `text`; where it stands more than once, `occurrence` (0, 1, …, or
    −1 for the last) says which.
    """
    spans, shown = occurrences(text, part), brief(text, 200)
    if not spans:
        raise FactError(
            f"the subject {part!r} does not stand in the prompt {shown}: put {{}} where it should"
            " stand"
        )
    if occurrence is None:
        if len(spans) > 1:
            raise FactError(
                f"the subject {part!r} stands {len(spans)} times in {shown}: put {{}} in the place"
                " of the one that is meant"
            )
        occurrence = 0
    if not -len(spans) <= occurrence < len(spans):
        raise FactError(
            f"the subject {part!r} stands {len(spans)} times in {shown}; there is no occurrence"
            f" {occurrence}"
        )
    return spans[occurrence]


def token_span(offsets: Sequence[Span], span: Span) -> Span:
    """Tokens [start, end) that share at least one character with `span`.

    `offsets` are the tokens' characters [start, end) in the same string; special tokens have empty
    ones and match nothing. A token may begin with the space before a word, or hold more than the
    span: it counts.
    """
    inside = [
        i for i, (start, end) in enumerate(offsets) if max(start, span[0]) < min(end, span[1])
    ]
    if not inside:
        raise FactError(
            f"no token covers the characters {span[0]}…{span[1]}: does the tokenizer give offsets?"
        )
    return inside[0], inside[-1] + 1
