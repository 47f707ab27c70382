import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loci.errors import FactError
from loci.facts import find_span, occurrences, token_span
from loci.model import Model

WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=8)


@given(st.lists(WORDS, min_size=1, max_size=8), st.data())
def test_a_word_of_a_text_is_found_where_it_stands(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    index = data.draw(st.integers(0, len(words) - 1))
    start = len(" ".join(words[:index])) + (index > 0)
    assert (start, start + len(words[index])) in occurrences(text, words[index])


@given(st.text(max_size=40), st.text(min_size=1, max_size=5))
def test_occurrences_hold_the_part_and_do_not_overlap(text: str, part: str) -> None:
    spans = occurrences(text, part)
    assert all(text[a:b] == part for a, b in spans)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))


@given(st.lists(WORDS, min_size=1, max_size=3), st.data())
def test_tokens_of_a_word_cover_it_and_nothing_beside_it(demo: Model, words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    index = data.draw(st.integers(0, len(words) - 1))
    start = len(" ".join(words[:index])) + (index > 0)
    end = start + len(words[index])
    tokens = demo.tokenize(text)
    first, last = tokens.span((start, end))
    assert tokens.offsets[first][0] in (start, start - 1)
    assert tokens.offsets[last - 1][1] == end
    assert first >= 1, "BOS is never part of a subject"


def test_subject_at_the_start_and_after_words(demo: Model) -> None:
    for text in ("Michael Jordan plays", "The sport of Michael Jordan is", "Michael Jordan's team"):
        tokens = demo.tokenize(text)
        first, last = tokens.span(find_span(text, "Michael Jordan"))
        assert "".join(tokens.labels[first:last]) == "MichaelJordan"


def test_no_token_for_the_span() -> None:
    with pytest.raises(FactError, match="no token covers"):
        token_span([(0, 0), (0, 3)], (3, 5))
