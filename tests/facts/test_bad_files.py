"""Fact files that are broken, and texts that are none."""

import json
from pathlib import Path

import pytest

from loci.errors import FactError
from loci.facts import Fact, FactSet, Question, load_facts, read_facts, save_facts

WRONG = r"expected text|expected a list of texts|half a character"
HEAD = "subject,prompt,answer\n"
ROW = "Io,{} is a moon of,Jupiter\n"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "a.csv",
            HEAD + ROW + '"Titan,{} is,Saturn\n' + ROW,
            "line 3: a quote is opened and never closed",
        ),
        ("a.csv", 'subject,"prompt,answer\n', "a quote is opened and never closed"),
        ("a.csv", HEAD + f"{'x' * 200_000},{{}} is,y\n", "line 2: field larger than field limit"),
        ("a.csv", f"{'x' * 200_000},prompt,answer\n", "field larger than field limit"),
        (
            "a.csv",
            "subject,prompt,answer,answer\n" + "Io,{} is,a,b\n",
            "line 1: two columns are called answer",
        ),
        ("a.csv", HEAD + "Io,{} is\n", "line 2: expected 3 columns"),
        ("a.csv", HEAD + 'Io,{} is,"a"b\n', "line 2"),
        ("a.csv", "", "no column subject"),
        ("a.jsonl", "[" * 100_000, "line 1: nested more than 100 deep"),
        ("a.jsonl", '{"subject": ' + "9" * 5000 + "}", "line 1: an integer of 5,000 digits"),
        (
            "a.jsonl",
            '{"subject": "a", "subject": "b", "prompt": "{}", "answer": "c"}',
            "line 1: the key 'subject' stands twice",
        ),
        (
            "a.jsonl",
            '{"subject": "\\ud800", "prompt": "{} is", "answer": "x"}',
            "line 1: '\\ud800' holds half a character",
        ),
        ("a.jsonl", '{"subject": 3, "prompt": "{} is", "answer": "x"}', "subject: expected text"),
        ("a.jsonl", "[1]", "line 1: expected an object"),
        ("a.jsonl", "\n\n", "no facts in it"),
        ("a.json", '[{"subject": "\\udfff"}]', "half a character"),
        ("a.json", "[" + "9" * 5000 + "]", "an integer of 5,000 digits"),
        ("a.json", "{" * 100, "not JSON"),
        ("a.txt", "x", "ends in .csv or .jsonl"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FactError) as error:
        load_facts(tmp_path / name)
    assert words in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400 + len(str(tmp_path))


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    for name in ("folder.csv", "loop.json", "gone.jsonl", "n" * 300 + ".csv", "a\0.csv"):
        with pytest.raises(FactError) as error:
            read_facts(tmp_path / name)
        assert str(error.value).isprintable()


@pytest.mark.parametrize("value", ["half \ud800", 3, None, ["x"], b"x"])
def test_a_fact_is_of_text(value: object) -> None:
    good = {"subject": "Io", "prompt": "{} is a moon of", "answer": "Jupiter"}
    for name in (*good, "new_answer", "relation"):
        if name in ("new_answer", "relation") and value is None:
            continue
        with pytest.raises(FactError, match=WRONG):
            Fact(**good | {name: value})  # type: ignore[arg-type]
    for name in ("paraphrases", "neighbours", "held_out", "aliases", "new_aliases"):
        with pytest.raises(FactError, match=WRONG):
            Fact(**good | {name: (value,)})  # type: ignore[arg-type]
        with pytest.raises(FactError, match=WRONG):
            Fact(**good | {name: "text" if value in (None, ["x"]) else value})  # type: ignore[arg-type]
    with pytest.raises(FactError, match=WRONG):
        Fact(**good, questions=(Question(value, ("x",), "alias"),))  # type: ignore[arg-type]
    with pytest.raises(FactError, match="half a character"):
        Fact.from_text("Io \ud800 is", "Io", "x")


def test_nothing_is_written_where_a_file_cannot_be(tmp_path: Path) -> None:
    facts = FactSet([Fact("Io", "{} is a moon of", "Jupiter", paraphrases=("a|b {}",))])
    with pytest.raises(FactError, match=r"write \.jsonl"):
        save_facts(facts, tmp_path / "deep" / "a.csv")
    assert list(tmp_path.iterdir()) == []
    save_facts(facts, tmp_path / "a.jsonl")
    assert json.loads((tmp_path / "a.jsonl").read_text())["paraphrases"] == ["a|b {}"]
