"""Exact-prefix match, and where the words of a text end."""

import pytest

from loci.facts.matching import is_function_word, matches, may_match, spelling, word_ends


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (" Turkish, which", "Turkish"),
        (" Turkish, which", "Turkish language"),
        (" the Turkish language", "Turkish"),
        (" the United States of America", "United States"),
        (" Joker.", "The Joker"),
        (" Bogota", "Bogotá"),
        ("Bogota\u0301.", "bogotá"),
        (' "Paris"', "Paris"),
        (" US dollar", "US Dollar"),
        (" A", "A"),
        ("東京都です", "東京"),
    ],
)
def test_begins_with_the_answer(said: str, answer: str) -> None:
    assert matches(said, answer)
    assert all(may_match(said[:end], answer) for end in range(len(said) + 1)), (
        "no beginning of a match may be ruled out"
    )


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (" Turkishness", "Turkish"),
        (" New York", "New York Yankees"),
        (" 10.5", "10"),
        (" 1999", "199"),
        (" is Paris", "Paris"),
        ("", "Paris"),
    ],
)
def test_something_else(said: str, answer: str) -> None:
    assert not matches(said, answer)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            " basketball for the NBA.",
            ["basketball", "basketball for", "basketball for the", "basketball for the NBA"],
        ),
        (" Los Angeles, California", ["Los", "Los Angeles"]),
        (" 3.14 and", ["3.14", "3.14 and"]),
        (" O'Neill", ["O'Neill"]),
        (" AC/DC.", ["AC/DC"]),
        (' "Paris". And', ['"Paris"']),
        (" 中国的首都。是", ["中国的首都"]),
        (" Paris\n\nThe", ["Paris"]),
        ("...", []),
        ("", []),
    ],
)
def test_words_of_the_first_clause(text: str, words: list[str]) -> None:
    assert [text[:end].strip() for end in word_ends(text)] == words


def test_function_words() -> None:
    assert all(map(is_function_word, ("the", "The", "a", "of", "which")))
    assert not any(map(is_function_word, ("No", "He", "Be", "basketball", "")))


def test_the_letter_a_is_no_article() -> None:
    assert (
        matches(" a", "a")
        and matches(" A and ends with e", "a")
        and matches(" a.", "a")
        and matches(" 'a' and", "a")
    )
    assert (
        not matches(" a vowel", "a") and not matches(" an apple", "an") and not matches(" a", "an")
    )
    assert matches(" the dog", "dog") and matches(" dog", "the dog")


def test_how_a_text_spells_an_answer() -> None:
    assert spelling(" the Turkish lira", "Turkish language") == "the Turkish"
    assert spelling(" BERLIN, of course", "Berlin") == "BERLIN"
    assert spelling(" Washington, D.C. is", "Washington, D.C.") in (
        "Washington, D.C.",
        "Washington, D.C",
    )
    assert spelling(" Turkishness", "Turkish") is None and spelling("", "x") is None
