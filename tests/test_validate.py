"""What comes from outside, one way in."""

import os
from pathlib import Path
from typing import Annotated

import pytest
from annotated_types import Interval
from typing_extensions import TypedDict

from loci import validate
from loci.errors import FactError, ModelError
from loci.validate import (
    DEPTH,
    brief,
    files_below,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    typed,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "nested more than 100 deep"),
        ("[" * 100_000 + "]" * 100_000, "nested more than 100 deep"),
        ("[" * (DEPTH + 2) + "]" * (DEPTH + 2), "nested more than 100 deep"),
        ("[" + "7" * 5000 + "]", "an integer of 5,000 digits"),
        ('{"a": NaN}', "nan where a finite number should be"),
        ('{"a": 1e999}', "inf where a finite number should be"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"\\udfff": 1}', "half a character"),
    ],
)
def test_documents_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(FactError, match=words) as error:
        parse_json(text, "x.json", FactError)
    assert str(error.value).startswith("x.json")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_documents_that_are_taken() -> None:
    assert parse_json('{"a": 1, "a": 1, "é": "\\ud83d\\ude00"}', "x", FactError) == {
        "a": 1,
        "é": "😀",
    }
    assert parse_json("[Infinity]", "x", FactError, infinite=True) == [float("inf")]
    assert parse_json("[" * DEPTH + "]" * DEPTH, "x", FactError) is not None


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, words in {
        "pipe": "not a regular file \\(a pipe\\)",
        "loop": "symbolic links",
        "gone": "No such file",
        "": "Is a directory|a folder",
        "n" * 300: "name too long",
        "a\0b": "no path",
        "half\udc00\ud800": "no path|No such file",
    }.items():
        with pytest.raises(ModelError, match=words) as error:
            read_text(f"{tmp_path}/{name}", ModelError)
        assert str(error.value).isprintable()


def test_sizes_and_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path, FactError) == [1]
    with pytest.raises(FactError, match="larger than 3 bytes"):
        read_bytes(path, FactError, most=3)
    path.write_bytes(b"[1]\n\xff")
    with pytest.raises(FactError, match="line 2: not UTF-8 \\(byte 0xff\\)"):
        read_json(path, FactError)


class Record(TypedDict):
    name: str
    layers: Annotated[int, Interval(ge=1, le=1000)]
    rates: list[float]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 5}, "x: name: expected string, found 5"),
        ({"layers": "6"}, "x: layers: expected integer, found '6'"),
        ({"layers": True}, "x: layers: expected integer, found True"),
        ({"layers": 1.5}, "x: layers: expected integer, found 1.5"),
        ({"layers": -1}, "x: layers: expected greater than or equal to 1, found -1"),
        ({"layers": 10**30}, "x: layers: expected less than or equal to 1000, found 1000000"),
        ({"rates": [0.5, None]}, "x: rates.1: expected number, found None"),
        ({"rates": {}}, "x: rates: expected list, found {}"),
    ],
)
def test_records(change: dict[str, object], words: str) -> None:
    good = {"name": "a", "layers": 3, "rates": [0.5, 1], "more": None}
    assert typed(Record, good, "x", FactError)["layers"] == 3
    with pytest.raises(FactError) as error:
        typed(Record, good | change, "x", FactError)
    assert str(error.value).startswith(words)
    with pytest.raises(FactError, match="x: name: is missing"):
        typed(Record, {"layers": 3, "rates": []}, "x", FactError)
    with pytest.raises(FactError, match="x: expected"):
        typed(Record, [1], "x", FactError)


def test_values_in_messages_are_short_and_printable() -> None:
    for value in ["\x1b[31m\n", "\ud800", 10**5000, ["x"] * 1000, "y" * 1000, None]:
        assert brief(value).isprintable()
        assert len(brief(value)) <= 60


def test_the_root_of_a_disk_is_no_folder_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "ENTRIES", 8)
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / ".hidden").mkdir()
    for place in (".", "a", "a/b", "a/b/c", "a/.hidden"):
        (tmp_path / place / "x.json").write_text("")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = files_below(tmp_path, (".json",), FactError)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "a/b/x.json",
        "a/x.json",
        "x.json",
    ]
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text("")
    with pytest.raises(FactError, match="more than 8 files below it: name the folder"):
        files_below(tmp_path, (".json",), FactError)
