"""The file by which an average trace goes on: what is in it is checked,
and belongs to one subject.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from loci.errors import FactError
from loci.facts import Fact
from loci.locating.average import _Done

SETTINGS = {"weights": "sha256:1", "kinds": ("state", "mlp")}
EFFECTS = {kind: {"last": [0.1, 0.2], "last subject": [0.3, 1e-300]} for kind in ("state", "mlp")}
FACT = Fact("Jordan", "{} met Jordan in", "Lima")


def done(path: Path) -> _Done:
    return _Done(path, SETTINGS, layers=2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    done(tmp_path / "t.jsonl").add(FACT, EFFECTS)
    return tmp_path / "t.jsonl"


def test_what_was_added_is_found_again_for_its_subject_alone(path: Path) -> None:
    again = done(path)
    assert again.get(FACT) == EFFECTS
    assert again.get(Fact("met", "Jordan {} Jordan in", "Lima")) is None, (
        "the same prompt about another subject"
    )
    whole = path.read_text()
    path.write_text(whole + whole.splitlines()[1][:50])
    assert done(path).get(FACT) == EFFECTS
    assert path.read_text() == whole, "a line that was cut off goes"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"subject": 3}, "line 2: subject: expected string, found 3"),
        ({"effects": None}, "line 2: effects: expected object, found None"),
        ({"effects": {"state": {}}}, "line 2: effects: expected state, mlp"),
        (
            {"effects": {**EFFECTS, "mlp": {"last": [1.0]}}},
            "line 2: effects.mlp: expected 2 numbers for a role, found 1",
        ),
        ({"effects": {**EFFECTS, "mlp": {"first": [1.0, 2.0]}}}, "found 2 of 'first'"),
        (
            {"effects": {**EFFECTS, "mlp": {"last": ["x", 1.0]}}},
            "line 2: effects.mlp.last.0: expected number, found 'x'",
        ),
    ],
)
def test_lines_that_are_no_traces(path: Path, change: dict[str, Any], words: str) -> None:
    head, line = path.read_text().splitlines()
    path.write_text(f"{head}\n{json.dumps({**json.loads(line), **change})}\n")
    before = path.read_bytes()
    with pytest.raises(FactError) as error:
        done(path)
    assert words in str(error.value)
    assert path.read_bytes() == before


def test_files_of_others_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    for text in ("my notes\n", "{}", "[" * 10**5):
        path.write_text(text)
        with pytest.raises(FactError, match="another model or with other settings"):
            done(path)
        assert path.read_text() == text
