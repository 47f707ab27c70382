import itertools
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loci.errors import FactError
from loci.facts import Fact, FactSet, find_span, occurrences, token_span
from loci.facts.scripts import within_word
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
    assert all(normalize("NFC", text[a:b]) == normalize("NFC", part) for a, b in spans)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))


@given(st.lists(WORDS, min_size=1, max_size=3), st.data())
def test_tokens_of_a_word_cover_it_and_nothing_beside_it(
    demo: Model, words: list[str], data: st.DataObject
) -> None:
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


FOUND = [
    ("Jordan's team", "Jordan", 1),
    ("Jordanian", "Jordan", 0),
    ("AirJordan", "Jordan", 0),
    ("Air-Jordan (Jordan) “Jordan” Jordan", "Jordan", 4),
    ("O'Neal and O’Neal", "O'Neal", 1),
    ("中国的首都是", "中国", 1),
    ("我爱中国和中国人", "中国", 2),
    ("NBA球员乔丹效力于", "乔丹", 1),
    ("在2020年", "2020", 1),
    ("20201", "2020", 0),
    ("กรุงเทพเป็นเมืองหลวงของประเทศไทย", "ประเทศไทย", 1),
    ("กรุงเทพเป็นเมืองหลวง", "กรุงเทพ", 1),
    ("ที่นี่", "ที", 0),
    ("東京は日本の首都です", "東京", 1),
    ("東京は日本の首都です", "日本", 1),
    ("マイケル・ジョーダンはバスケットボールの選手", "マイケル・ジョーダン", 1),
    ("서울은 한국의 수도이다", "서울", 1),
    ("서울은 한국의 수도이다", "한국", 1),
    ("मुंबई भारत में है", "भारत", 1),
    ("दिल्लीवाला", "दिल्ली", 0),
    ("القاهرة عاصمة مصر", "مصر", 1),
    ("القاهرة عاصمة المصريين", "مصر", 0),
    ("ירושלים היא בירת ישראל", "ישראל", 1),
    ("Москва — столица России", "Москва", 1),
    ("Москвариум", "Москва", 0),
    ("cafe\u0301 au lait", "cafe", 0),
    ("cafe\u0301 au lait", "caf\u00e9", 1),
    ("caf\u00e9 au lait", "cafe\u0301", 1),
    ("Zu\u0308rich liegt", "Z\u00fcrich", 1),
    ("👨‍👩‍👧 is a family", "👨", 0),
    ("👍🏽 and 👍", "👍", 1),
    ("I ❤️ 🍕.", "🍕", 1),
    ("ປະເທດລາວ", "ລາວ", 1),
    ("ភាសាខ្មែរ", "ខ្មែរ", 1),
    ("၀ိုင်မြန်မာ", "မြန်မာ", 1),
]


@pytest.mark.parametrize(("text", "part", "count"), FOUND)
def test_words_of_all_scripts(text: str, part: str, count: int) -> None:
    assert len(occurrences(text, part)) == count
    if count == 1:
        start, end = find_span(text, part)
        fact = Fact.from_text(text, part, "x")
        assert normalize("NFC", fact.subject) == normalize("NFC", part)
        assert fact.text == text and fact.subject_span == (start, end)


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("Michael Jordan was born. {} plays the sport of", "Michael Jordan"),
        ("{}的首都是", "中国"),
        ("中国、{}的首都是", "中国"),
        ("ประเทศ{}มีเมืองหลวงคือ", "ไทย"),
        ("Post{}", "man"),
        ("{}", "Michael Jordan"),
        ("the {}ian capital is", "Jordan"),
        ("e{}", "\u0301"),
    ],
)
def test_the_blank_says_where_the_subject_is(text: str, subject: str) -> None:
    fact = Fact.from_text(text, subject, "x")
    start = text.index("{}")
    assert fact.subject_span == (start, start + len(subject))
    assert fact.text == text.replace("{}", subject)


def test_what_cannot_be_told_is_refused_with_what_helps_everywhere() -> None:
    with pytest.raises(
        FactError, match=r"stands 2 times .* put \{\} in the place of the one that is meant"
    ):
        Fact.from_text("Michael Jordan was born. Michael Jordan plays", "Michael Jordan", "x")
    with pytest.raises(FactError, match=r"does not stand .* put \{\} where it should stand"):
        Fact.from_text("Jordanian cities", "Jordan", "x")
    with pytest.raises(FactError, match=r"needs exactly one \{\}"):
        Fact.from_text("{} and {}", "Jordan", "x")


def test_known_subjects_in_scripts_without_spaces() -> None:
    known = FactSet(
        [
            Fact("中国", "{}的首都是", "北京"),
            Fact("中国人", "{}说", "汉语"),
            Fact("Z\u00fcrich", "{} is in", "Switzerland"),
        ]
    )
    assert known.subjects_in("我爱中国") == ["中国"]
    assert known.subjects_in("中国人") == ["中国人"]
    assert known.subjects_in("Zu\u0308rich is in") == ["Z\u00fcrich"]


@given(st.text(max_size=30))
def test_no_boundary_is_inside_a_word_at_the_ends_or_beside_a_space(text: str) -> None:
    assert not within_word(text, 0) and not within_word(text, len(text))
    spaces = [i for i, character in enumerate(text) if character == " "]
    assert not any(within_word(text, i) for i in spaces)


def test_a_long_prompt_is_not_said_whole_in_an_error() -> None:
    text = "Osaka is a city. " * 500
    with pytest.raises(FactError) as refused:
        find_span(text, "Osaka")
    assert len(str(refused.value)) < 400 and "stands 500 times" in str(refused.value)
