"""loci circuits train and small as a user runs them."""

from dataclasses import replace
from pathlib import Path

import pytest

from loci.studies.attention_only import PHENOMENA

QUICK = ("--heads", 1, "--d-head", 4, "--steps", 2, "--batch", 2, "--context", 24)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phenomena of the smallest models."""
    for name, shown in PHENOMENA.items():
        few = tuple(
            replace(recipe, heads=1, d_head=4, batch=2, context=24) for recipe in shown.recipes
        )
        monkeypatch.setitem(PHENOMENA, name, replace(shown, recipes=few))


def test_train_then_use(loci, document, tmp_path: Path) -> None:
    found = document(
        "circuits", "train", "--layers", 1, *QUICK, "--out", "one", "--figure", "one.html"
    )
    assert found["schema"] == "loci.small/1"
    assert found["finished"]
    assert [row["step"] for row in found["checkpoints"]] == [0, 1, 2]
    assert (tmp_path / "one.html").stat().st_size > 1000
    heads = document("circuits", "heads", "-m", "one")
    assert [row["head"] for row in heads["heads"]] == [0]
    status, out, _ = loci("circuits", "train", "--layers", 0, *QUICK, "-o", "zero")
    assert status == 0
    assert "late − early" in out
    assert "0 layers" in out


def test_small(loci, document, quick, tmp_path: Path) -> None:
    for name, models in (("bigrams", 1), ("phase", 2), ("bases", 2)):
        status, out, err = loci(
            "circuits", "small", name, "--steps", 1, "--models", name, "--out", f"{name}.html"
        )
        assert status == 0, err
        assert out.strip()
        assert len([path for path in (tmp_path / name).iterdir() if path.is_dir()]) == models
    assert (
        document("circuits", "small", "bigrams", "--steps", 1, "--models", "bigrams")["schema"]
        == "loci.bigrams/1"
    )
    status, _, err = loci(
        "circuits", "small", "bigrams", "--steps", 1, "--models", "bigrams", "--seed", 1
    )
    assert status == 0, err


def test_models_that_are_not_kept_are_named_by_their_recipe(loci, document, quick) -> None:
    """Not by the temporary folder that they were in."""
    found = document("circuits", "small", "phase", "--steps", 1)
    assert [small["model"] for small in found["models"]] == [
        "layers1-heads1x4-adam-steps1-seed0",
        "layers2-heads1x4-adam-steps1-seed0",
    ]


def test_refusals(loci, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    (tmp_path / "short.txt").write_text("far too short\n")
    for words, said in (
        (("train", "--layers", 5, "-o", "m"), "--layers / -l: should be less than or equal to 2"),
        (("train", "--optimizer", "lion", "-o", "m"), "'lion' is not one of 'adam'"),
        (("train", "--text", "short.txt", "-o", "m"), "too short"),
        (("train", "--text", "none.txt", "-o", "m"), "no such file"),
        (("train", "-o", "full"), "files in it"),
        (("small", "grokking"), "'grokking' is not one of 'bigrams'"),
        (("heads", "-m", "m"), "m"),
    ):
        status, _, err = loci("circuits", *words)
        assert status == 2, words
        assert said in err
        assert err.count("\n") == 1
    assert not (tmp_path / "m").exists()
