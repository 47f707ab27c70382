"""The verbs of writing, run as a user runs them."""

import json

import pytest
from typer.testing import CliRunner

from loci.cli.app import app
from loci.errors import WriteError


def document(*words: str) -> dict:
    found = CliRunner().invoke(app, ["write", *words, "--json"], catch_exceptions=False)
    assert found.exit_code == 0
    return json.loads(found.stdout)


def test_documents(tmp_path) -> None:
    assert document("gate")["schema"] == "loci.gate/1"
    assert document("gate", "--size", "gpt2", "--names", "8")["recall"]["value"] == 1
    found = document("capacity", "--dim", "8", "--facts", "16", "--method", "compiled-relu", "--out", str(tmp_path / "c.html"))
    assert found["rows"][0]["recall"] == 1
    assert (tmp_path / "c.html").stat().st_size > 10_000
    curve = document("capacity", "--dim", "8", "--facts", "8", "--facts", "16", "--method", "random-relu")
    assert [case["facts"] for case in curve["cases"]] == [8, 16]
    stored = document("store", "--dim", "8", "--facts", "16", "-n", "16", "--method", "one-per-fact", "--method", "least-squares")
    assert stored["best"] == "one-per-fact"
    planted = document("planted", "--kind", "superposed", "--subjects", "8", "--neurons", "8", "--save", str(tmp_path / "planted"))
    assert len(planted["facts"]) == 16
    assert (tmp_path / "planted" / "config.json").is_file()


@pytest.mark.parametrize("words", [["gate"], ["store", "-n", "8", "--dim", "8", "--facts", "8", "--method", "random-relu"]])
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
    ],
)
def test_bad_input(words: list[str]) -> None:
    with pytest.raises(WriteError):
        CliRunner().invoke(app, ["write", *words], catch_exceptions=False)
