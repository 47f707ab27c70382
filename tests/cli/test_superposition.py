"""loci superposition as a user runs it."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SMALL = {
    "bounds": ("--dim", "100", "--angle", "80"),
    "pack": ("--dim", "16"),
    "video": ("--count", "60", "--dim", "6"),
    "toy": ("-n", "4", "-d", "2", "--steps", "20", "--density", "0.1", "--density", "1"),
    "geometry": ("-n", "6", "-d", "2", "--steps", "20"),
    "phase": ("--size", "2", "--runs", "1", "--steps", "5"),
    "correlated": ("--runs", "2", "--steps", "5"),
    "computation": ("-n", "4", "--neurons", "3", "--steps", "10"),
    "attack": ("-n", "6", "-d", "2", "--steps", "10"),
    "interference": (
        "-d",
        "16",
        "-m",
        "16",
        "-k",
        "1",
        "-k",
        "2",
        "--trials",
        "10",
        "--steps",
        "5",
    ),
}


@pytest.fixture
def loci(loci):
    return partial(loci, "superposition")


@pytest.mark.parametrize("verb", SMALL)
def test_every_verb_speaks_writes_and_draws(loci, verb: str, tmp_path: Path) -> None:
    status, out, err = loci(verb, *SMALL[verb], "--json", "--out", tmp_path / "x.html")
    assert status == 0, err
    assert out.count("\n") == 1 and json.loads(out)["schema"].startswith("loci.superposition_")
    assert (tmp_path / "x.html").stat().st_size > 1e5
    status, out, err = loci(verb, *SMALL[verb])
    assert status == 0 and len(out.splitlines()) > 1, err


@pytest.mark.parametrize("verb", [*SMALL, "weights"])
def test_help_has_an_example(loci, verb: str) -> None:
    status, out, _ = loci(verb, "--help")
    assert status == 0 and f"loci superposition {verb}" in out


def test_bounds_in_three_forms(loci) -> None:
    one = json.loads(loci("bounds", "--dim", 12288, "--angle", 89, "--json")[1])
    assert one["log10"]["explicit_lines"] == pytest.approx(7.877956, abs=1e-5)
    table = json.loads(loci("bounds", "--dim", 12288, "--json")[1])
    assert [row["angle"] for row in table["rows"]] == [89, 88, 87, 85]
    assert "73.728 ✗" in loci("bounds", "--dim", 12288)[1]
    inverse = json.loads(loci("bounds", "--dim", 100, "--count", 10000, "--json")[1])
    assert inverse["lines"]["limit"] == pytest.approx(81.951, abs=1e-3)
    assert loci("bounds", "--dim", 100, "--count", 10000)[0] == 0


def test_vectors_of_a_code_by_index(loci, tmp_path: Path) -> None:
    status, _, err = loci(
        "pack", "--dim", 64, "--index", "0,65,2111", "--vectors", tmp_path / "v.safetensors"
    )
    assert status == 0, err
    vectors = load_file(tmp_path / "v.safetensors")["vectors"]
    assert (
        vectors.shape == (3, 64)
        and (vectors @ vectors.T - torch.eye(3)).abs().max() <= 1 / 8 + 1e-6
    )
    status, _, err = loci(
        "pack", "--dim", 4, "--count", 6, "--steps", 10, "--vectors", tmp_path / "w.safetensors"
    )
    assert status == 0 and load_file(tmp_path / "w.safetensors")["vectors"].shape == (6, 4)
    assert loci("weights", "--directions", tmp_path / "v.safetensors")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bounds", "--angle", 0), "no angle"),
        (("bounds", "--angle", 90), "no angle"),
        (("bounds", "--angle", "nan"), "--angle / -a: should be"),
        (("bounds", "--dim", 1, "--angle", 85), "no dimension"),
        (("bounds", "--count", 0), "should be greater than or equal to 2"),
        (("bounds", "--count", 10, "--angle", 85), "not both"),
        (("pack", "--dim", 100, "--kind", "kerdock"), "the nearest have 64 and 256"),
        (("pack", "--dim", 256, "--angle", 89), "4,096 dimensions"),
        (("pack", "--dim", 16, "--count", 0), "should be greater than or equal to 2"),
        (("pack", "--dim", 16, "--count", 5, "--angle", 80), "no --angle"),
        (("pack", "--dim", 16, "--vectors", "x.npy"), "safetensors"),
        (("pack", "--dim", 16, "--vectors", "x.safetensors", "--index", "a"), "no numbers"),
        (("toy", "--density", 0), "density"),
        (("interference", "-m", 2), "4 features"),
        (("weights", "--directions", "missing.safetensors"), "no readable"),
    ],
)
def test_bad_input_is_one_line(loci, words: tuple, said: str) -> None:
    status, out, err = loci(*words)
    assert status == 2 and not out
    assert said in err and err.count("\n") == 1
