"""docs/json.md has every schema and every command, and what it says of a document is so."""

import re
import sys
from pathlib import Path

import pytest

from loci.cli.opening import Opening
from loci.model import Model

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import json_commands  # noqa: E402
import json_shapes  # noqa: E402
import make_json_reference as made  # noqa: E402
from make_cli_reference import commands  # noqa: E402

PAGE = made.PAGE.read_text(encoding="utf-8")
LINES = json_commands.COMMANDS.strip().splitlines()
AGAIN = "python scripts/make_json_reference.py"


def test_every_schema_that_the_code_emits_stands_in_the_page() -> None:
    names = json_shapes.schemas()
    assert len(names) > 100
    assert [name for name in names if name not in PAGE] == [], AGAIN


def test_every_field_has_a_meaning() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \|(.*)\|$", PAGE, flags=re.M)
    assert len(rows) > 1500
    assert [place for place, meaning in rows if not meaning.strip()] == [], "scripts/json_fields.py"


def test_the_longest_end_of_a_place_is_taken() -> None:
    known = {"limit": "a", "moved.limit": "b", "edit.limit": "c"}
    assert made.meaning_of("loci.edit/1", "moved.limit", known) == "b"
    assert made.meaning_of("loci.edit/1", "rows[].limit", known) == "a"
    assert made.meaning_of("loci.edit/1", "limit", known) == "c"
    assert made.meaning_of("loci.edit/1", "other", known) == ""


def test_every_command_with_json_is_there() -> None:
    import typer.main

    from loci.cli.app import app

    every = commands(typer.main.get_command(app))
    asked = {made.name_of(line) for line in LINES}
    speaking = {
        f"loci {' '.join(path)}"
        for path, command in every
        if any("--json" in option.opts for option in command.params)
    }
    assert speaking - asked == set(), "scripts/json_commands.py"
    assert [name for name in speaking if f"| `{name}` |" not in PAGE] == [], AGAIN


@pytest.mark.parametrize("command", ["lens", "census", "circuits attention"])
def test_a_document_has_the_fields_of_the_page(
    command: str, demo: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = Opening.open
    monkeypatch.setattr(Opening, "open", lambda self: demo if self == Opening() else real(self))
    monkeypatch.setattr("sys.argv", ["loci"])
    monkeypatch.chdir(tmp_path)
    line = next(line for line in LINES if made.name_of(line) == f"loci {command}")
    document = made.said(line)
    section = made.section(
        document["schema"], [f"loci {command}"], [document], json_shapes.sources()
    )
    assert section in PAGE, AGAIN


def test_a_field_that_is_there_sometimes_says_so() -> None:
    known = json_shapes.Sources()
    found = json_shapes.rows([{"schema": "x", "a": 1, "b": None}, {"a": 2.5}], known, "")
    assert [(row.place, row.kind) for row in found] == [
        ("a", "number"),
        ("b", "null (not always there)"),
    ]


def test_keys_that_are_data_are_no_fields() -> None:
    known = json_shapes.Sources()
    estimate = {"value": 1.0, "low": None, "high": None, "n": 1}
    one = {"heads": {"L0H1": [[1, 2.5]], "L1H0": [[3, None]]}, "by": {"two words": estimate}}
    found = json_shapes.rows([one], known, "")
    assert [(row.place, row.kind) for row in found] == [
        ("heads", "object by head: list of list of number or null"),
        ("by", "object by name (`two words`): [estimate](#estimate)"),
    ]


def test_meanings_come_from_the_code() -> None:
    known = json_shapes.sources()
    assert known.makers["loci.trace/1"] == "Trace"
    assert known.field_of("Trace", "known")[0].startswith("Whether the answer is what the model")
    assert re.match("draws of the corruption", known.field_of("Trace", "samples")[0])
