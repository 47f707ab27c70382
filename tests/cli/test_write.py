"""The verbs of writing, run as a user runs them."""

import json
import sys

import pytest
from typer.testing import CliRunner

from loci.cli.app import app
from loci.facts import FactSet, save_facts
from loci.writing import new_facts


def document(*words: str, says: str | None = None) -> dict:
    found = CliRunner().invoke(app, ["write", *words, "--json"], catch_exceptions=False)
    assert found.exit_code == 0
    assert says is None or found.stderr == says, "no bar of a library either"
    return json.loads(found.stdout)


def test_documents(tmp_path) -> None:
    assert document("gate")["schema"] == "loci.gate/1"
    assert document("gate", "--size", "gpt2", "--names", "8")["recall"]["value"] == 1
    found = document(
        "capacity",
        "--dim",
        "8",
        "--facts",
        "16",
        "--method",
        "compiled-relu",
        "--out",
        str(tmp_path / "c.html"),
    )
    assert found["rows"][0]["recall"] == 1
    assert (tmp_path / "c.html").stat().st_size > 10_000
    curve = document(
        "capacity", "--dim", "8", "--facts", "8", "--facts", "16", "--method", "random-relu"
    )
    assert [case["facts"] for case in curve["cases"]] == [8, 16]
    stored = document(
        "store",
        "--dim",
        "8",
        "--facts",
        "16",
        "-n",
        "16",
        "--method",
        "one-per-fact",
        "--method",
        "least-squares",
    )
    assert stored["best"] == "one-per-fact"
    planted = document(
        "planted",
        "--kind",
        "superposed",
        "--subjects",
        "8",
        "--neurons",
        "8",
        "--save",
        str(tmp_path / "planted"),
        says=f"written: {tmp_path / 'planted'}\n",
    )
    assert len(planted["facts"]) == 16
    assert (tmp_path / "planted" / "config.json").is_file()


def test_facts_are_installed_from_a_file(world: FactSet, tmp_path, monkeypatch) -> None:
    small = FactSet(world.relations["athlete_sport"])
    monkeypatch.setattr(sys.modules["loci.writing.installation"], "known_facts", lambda: small)
    save_facts(FactSet(new_facts(small, 3)), tmp_path / "new.jsonl")
    patch, folder = tmp_path / "new.safetensors", tmp_path / "wide"
    made = document(
        "install",
        "--facts",
        str(tmp_path / "new.jsonl"),
        "--patch",
        str(patch),
        "--save",
        str(folder),
    )
    assert made["recall"]["value"] == 1
    assert made["drift"]["n"] == 100
    shown = CliRunner().invoke(app, ["patch", "show", str(patch)], catch_exceptions=False)
    assert "6 neurons" in shown.stdout
    assert (folder / "config.json").is_file()
    filled = CliRunner().invoke(
        app, ["write", "fullness", "-n", "8", "--facts", "8"], catch_exceptions=False
    )
    assert "facts a neuron" in filled.stdout


@pytest.mark.parametrize(
    "words",
    [["gate"], ["store", "-n", "8", "--dim", "8", "--facts", "8", "--method", "random-relu"]],
)
def test_words(words: list[str]) -> None:
    found = CliRunner().invoke(app, ["write", *words], catch_exceptions=False)
    assert found.exit_code == 0
    assert "facts" in found.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["gate", "--cosine", "2"],
        ["capacity", "--facts", "0"],
        ["capacity", "--dim", "1"],
        ["store", "-n", "0"],
        ["planted", "--kind", "scattered"],
        ["install", "--layer", "9", "--count", "2"],
        ["fullness", "-n", "0"],
    ],
)
def test_bad_input(loci, words: list[str]) -> None:
    status, out, err = loci("write", *words)
    assert status == 2 and not out and err.count("\n") == 1
