"""`loci forensics` as a user runs it."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from loci.model import Model


@pytest.fixture
def loci(loci):
    return partial(loci, "forensics")


@pytest.fixture
def edited(demo: Model, tmp_path: Path) -> Path:
    """The embedded model with a change of rank 1 in one weight, saved."""
    weight = demo.weight("W_down.2")
    before = weight.clone()
    try:
        with torch.no_grad():
            weight.add_(
                0.2 * torch.outer(torch.ones(len(weight)), torch.linspace(-1, 1, weight.shape[1]))
            )
        demo.hf.save_pretrained(tmp_path / "edited")
    finally:
        weight.copy_(before)
    demo.tokenizer.save_pretrained(tmp_path / "edited")
    return tmp_path / "edited"


def test_a_document_and_a_page(loci, edited: Path, tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text("Ada Lovelace\nMichael Jordan\n", encoding="utf-8")
    words = ("demo", edited, "--subjects", tmp_path / "people.txt", "--no-answers")
    status, out, err = loci(*words, "--json", "--out", tmp_path / "page.html")
    assert status == 0, err
    document = json.loads(out)
    assert document["schema"] == "loci.forensics/1"
    assert [
        (weight["name"], weight["rank"]) for weight in document["weights"] if not weight["rounding"]
    ] == [("W_down.2", 1)]
    assert {subject["subject"] for subject in document["subjects"]} == {
        "Ada Lovelace",
        "Michael Jordan",
    }
    assert "edits of rank 1 at W_down.2" in document["verdict"]
    assert "W_down.2" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_one_checkpoint_alone(loci, edited: Path) -> None:
    status, out, _ = loci(edited)
    assert status == 0
    assert "W_down.2 stands out" in " ".join(out.split())


def test_bad_input(loci, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n", encoding="utf-8")
    for words, says in (
        (("demo", "demo"), "the same checkpoint"),
        (("demo", "./nowhere"), "no folder"),
        (("demo", tmp_path, "--subjects", tmp_path / "none.txt"), "no subject in it"),
        (("demo", tmp_path, "--out", tmp_path / "a.txt"), "the ending says"),
    ):
        status, out, err = loci(*words)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert says in err


def test_a_checkpoint_is_looked_at_from_inside(loci, edited: Path, tmp_path: Path) -> None:
    status, out, err = loci(edited, "--inside", "--undo", tmp_path / "undo.safetensors", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document["schema"] == "loci.without_base/1" and len(document["layers"]) == 6
    assert (tmp_path / "undo.safetensors").exists() == document["edited"]
    status, _, err = loci("demo", edited, "--inside")
    assert status == 2 and "one checkpoint alone" in err
    status, _, err = loci(edited, "--undo", tmp_path / "undo.safetensors")
    assert status == 2 and "--inside" in err
