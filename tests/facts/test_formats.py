from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loci.errors import FactError
from loci.facts import Fact, FactSet, load_facts, save_facts

TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="{}|\r\x00"), min_size=1, max_size=12
).filter(str.strip)
PROMPTS = st.lists(TEXT, max_size=2).map(tuple)
FACTS = st.builds(
    Fact,
    TEXT,
    TEXT.map(lambda text: "{} " + text),
    TEXT,
    new_answer=st.none() | TEXT,
    relation=st.none() | TEXT,
    paraphrases=PROMPTS,
    neighbours=PROMPTS,
    held_out=PROMPTS,
)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@given(facts=st.lists(FACTS, min_size=1, max_size=4))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, ending: str, facts: list[Fact]
) -> None:
    path = tmp_path_factory.mktemp("facts") / f"facts.{ending}"
    save_facts(FactSet(facts), path)
    assert list(load_facts(path)) == facts


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", b"subject,prompt\nPeru,{} is\n", "line 1: no column answer"),
        (
            "a.csv",
            b"subject,prompt,answer\nPeru,{} is,Lima\nChile,is,Santiago\n",
            "line 3: .*exactly one",
        ),
        ("a.csv", b"subject,prompt,answer\nPeru,{} is\n", "line 2: expected 3 columns"),
        (
            "a.csv",
            b"subject,prompt,answer\nPeru,{} is,Lim\xe9\n",
            r"line 2: not UTF-8 \(byte 0xe9\)",
        ),
        ("a.csv", b"", "line 1: no column subject, prompt, answer"),
        ("a.csv", b"subject,prompt,answer\n", "no facts"),
        (
            "a.jsonl",
            b'{"subject": "Peru", "prompt": "{} is", "answer": "Lima"}\n{"subject":\n',
            "line 2: not JSON",
        ),
        ("a.jsonl", b"[1]\n", "line 1: expected an object"),
        ("a.jsonl", b'{"subject": "Peru", "prompt": "{} is"}\n', "line 1: no column answer"),
        (
            "a.jsonl",
            b'{"subject": "Peru", "prompt": "{} is", "answer": 3}\n',
            "line 1: answer: expected text",
        ),
        ("a.txt", b"", "ends in .csv or .jsonl"),
    ],
)
def test_errors_say_where(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(FactError, match=says):
        load_facts(path)


def test_missing_file() -> None:
    with pytest.raises(FactError, match="cannot be read"):
        load_facts("nowhere.csv")


def test_bar_in_a_prompt_is_refused_in_csv(tmp_path: Path) -> None:
    facts = FactSet([Fact("Peru", "{} is", "Lima", paraphrases=("a | b",))])
    with pytest.raises(FactError, match=r"write \.jsonl"):
        save_facts(facts, tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())


def test_csv_with_a_space_behind_each_comma(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(
        'subject, prompt, answer, paraphrases\nPeru, "{} has, they say, the capital", Lima , The'
        " capital of {} is | {}: \n"
    )
    (fact,) = load_facts(path)
    assert fact == Fact(
        "Peru", "{} has, they say, the capital", "Lima", paraphrases=("The capital of {} is", "{}:")
    )
