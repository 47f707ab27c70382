"""loci patch and loci facts, as a user runs them."""

import json
from pathlib import Path

import pytest
from tests.patches.making import BIRD, JORDAN, patch_of

from loci.cli.opening import Opening
from loci.model import Model, open_model
from loci.patches import load_patch


@pytest.fixture(autouse=True)
def wide_and_opened_once(monkeypatch: pytest.MonkeyPatch, demo: Model) -> None:
    """Whole lines, and the embedded model itself whatever else is said."""
    monkeypatch.setenv("COLUMNS", "200")
    real = Opening.open
    monkeypatch.setattr(Opening, "open", lambda self: demo if self.model == "demo" else real(self))


@pytest.fixture
def patches(demo: Model, tmp_path: Path) -> None:
    patch_of(demo, ["W_down.1"], [JORDAN]).save(tmp_path / "a.safetensors")
    patch_of(demo, ["W_down.1", "W_down.2"], [BIRD], rank=3, seed=4).save(
        tmp_path / "b.safetensors"
    )
    patch_of(demo, ["W_down.1"], [JORDAN.to("golf")], seed=8).save(tmp_path / "c.safetensors")


@pytest.mark.parametrize("verb", ["merge", "diff", "compress", "export"])
def test_help_has_an_example(loci, verb: str) -> None:
    status, out, _ = loci("patch", verb, "--help")
    assert status == 0
    assert f"loci patch {verb}" in out.split("Example")[1]


@pytest.mark.usefixtures("patches")
def test_merge(document, loci) -> None:
    made = document("patch", "merge", "a.safetensors", "b.safetensors", "-o", "ab.safetensors")
    assert (
        made["schema"],
        made["method"],
        len(made["facts"]),
        made["weights"]["W_down.1"]["rank"],
    ) == (
        "loci.patch/1",
        "merge",
        2,
        5,
    )
    assert load_patch("ab.safetensors").id == made["id"]
    status, _, err = loci(
        "patch", "merge", "a.safetensors", "c.safetensors", "-o", "ac.safetensors"
    )
    assert (status, err.count("\n")) == (2, 1)
    assert "'baseball' and 'golf'" in err
    assert not Path("ac.safetensors").exists()
    status, out, _ = loci(
        "patch",
        "merge",
        "a.safetensors",
        "c.safetensors",
        "--keep",
        "last",
        "-o",
        "ac.safetensors",
        "-m",
        "demo",
    )
    assert status == 0
    assert "lost   Michael Jordan plays the sport of → baseball" in out
    assert document("patch", "show", "ac.safetensors")["facts"][0]["new_answer"] == "golf"


@pytest.mark.usefixtures("patches")
def test_merge_with_the_base_says_how_far_patches_disturb_each_other(document, loci) -> None:
    made = document(
        "patch", "merge", "a.safetensors", "b.safetensors", "-m", "demo", "-o", "ab.safetensors"
    )
    assert set(made["numbers"]["interaction"]["W_down.1"]) == {"cosine", "response"}
    status, out, _ = loci("patch", "show", "ab.safetensors")
    assert status == 0
    assert "strongest interaction" in out
    assert out.count("from ") == 2


@pytest.mark.usefixtures("patches")
def test_diff_and_compress(document, loci, demo: Model) -> None:
    found = document("patch", "diff", "a.safetensors", "b.safetensors")
    assert (found["schema"], [w["name"] for w in found["weights"]]) == (
        "loci.patch_diff/1",
        ["W_down.1", "W_down.2"],
    )
    assert "cosine" in loci("patch", "diff", "a.safetensors", "b.safetensors")[1]
    small = document("patch", "compress", "b.safetensors", "--rank", 1, "-o", "small.safetensors")
    assert (small["weights"]["W_down.2"]["rank"], small["numbers"]["rank"]["W_down.1"]) == (1, 1)
    assert 0 < small["numbers"]["error"]["W_down.1"] < 1

    assert loci("patch", "apply", "a.safetensors", "-o", "edited")[0] == 0
    status, out, _ = loci("patch", "diff", "demo", "edited")
    assert status == 0
    assert "W_down.1" in out
    assert "W_down.2" not in out
    again = document("patch", "diff", "demo", "edited", "-o", "again.safetensors")
    assert (again["method"], again["base"], again["numbers"]["edited"]) == (
        "diff",
        demo.fingerprint,
        open_model("edited").fingerprint,
    )
    status, out, _ = loci("patch", "show", "again.safetensors")
    assert "relative error" in out
    status, out, _ = loci("patch", "diff", "demo", "demo")
    assert "no weight differs" in out


@pytest.mark.usefixtures("patches")
def test_export(document, loci, demo: Model) -> None:
    said = document("patch", "export", "a.safetensors", "--format", "peft", "-o", "adapter")
    assert (said["schema"], said["format"], said["path"]) == (
        "loci.patch_export/1",
        "peft",
        "adapter",
    )
    assert json.loads(Path("adapter/adapter_config.json").read_text())["r"] == 2
    assert (
        loci("patch", "export", "a.safetensors", "--format", "delta", "-o", "d.safetensors")[0] == 0
    )
    assert Path("d.safetensors").stat().st_size > 4 * demo.W_down(1).numel()


@pytest.mark.usefixtures("patches")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["merge", "a.safetensors", "-o", "x"], "two patches or more"),
        (["merge", "a.safetensors", "none", "-o", "x"], "no patch file"),
        (["diff", "a.safetensors", "demo"], "give two patches, or two models"),
        (["diff", "a.safetensors", "b.safetensors", "-o", "x"], "see loci patch merge"),
        (["diff", "demo", "./gone"], "there is no folder"),
        (["diff", "demo", "demo", "-o", "x"], "nothing to make a patch of"),
        (["diff", "demo", "demo", "-o", "x", "--rank", "0"], "should be greater"),
        (["compress", "a.safetensors", "--rank", "0", "-o", "x"], "should be greater"),
        (
            ["export", "a.safetensors", "--format", "delta", "-m", "edited", "-o", "x"],
            "not the same base (it has the patch",
        ),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(loci, words: list[str], says: str) -> None:
    if "edited" in words:
        assert loci("patch", "apply", "b.safetensors", "-o", "edited")[0] == 0
    status, out, err = loci("patch", *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert not Path("x").exists()


def test_facts_of_a_file(document, loci, tmp_path: Path) -> None:
    sample = {"subject": "Io", "object": "Jupiter"}
    relation = {
        "name": "moon",
        "prompt_templates": ["{} circles"],
        "prompt_templates_zs": [],
        "samples": [sample],
    }
    (tmp_path / "moon.json").write_text(json.dumps(relation))
    found = document("facts", "moon.json")
    assert (
        found["schema"],
        found["format"],
        found["counts"]["facts"],
        found["facts"][0]["answer"],
    ) == (
        "loci.facts/1",
        "LRE",
        1,
        "Jupiter",
    )
    status, out, _ = loci("facts", "moon.json", "--relation", "moon", "-o", "moon.jsonl")
    assert status == 0
    assert "Io circles Jupiter" in out
    assert document("facts", "moon.jsonl")["format"] == "JSONL"
    for words, says in (
        (["gone.json"], "cannot be read"),
        (["moon.json", "-r", "sun"], "there is no relation 'sun'"),
    ):
        status, _, err = loci("facts", *words)
        assert (status, err.count("\n")) == (2, 1)
        assert says in err
