"""The summary is made of what the methods say one by one."""

import pytest
from tests.model.families import make

from loci.facts import Fact
from loci.locating import attribute, lens, locate, routes
from loci.model import Model


def test_profiles_are_those_of_the_methods(demo: Model, jordan: Fact) -> None:
    found = locate(demo, jordan)
    assert found.known
    estimate = attribute(demo, jordan, compare=False)
    start, end = estimate.subject_span
    mlp, attn = found.profiles["MLPs at the subject"], found.profiles["attention at the last token"]
    assert mlp["estimated effect"] == pytest.approx(
        estimate.grids["mlp"][:, start:end].sum(1).tolist(), abs=1e-5
    )
    assert attn["added to the score"] == pytest.approx(
        [rung.attn for rung in lens(demo, jordan.text, jordan.answer).layers], abs=1e-5
    )
    cut = routes(demo, [jordan])
    assert mlp["lost when cut"] == pytest.approx([e.value for e in cut.by_layer["mlp"]], abs=1e-5)
    assert attn["lost when cut"] == pytest.approx(
        [e.value for e in cut.by_layer["edges"]], abs=1e-5
    )
    assert found.peaks["MLPs at the subject"] == {"estimated effect": 0, "lost when cut": 0}
    assert "both methods point at layer 0" in found.words
    assert found.readable == 4
    assert found.to_dict()["schema"] == "loci.locate/1"


def test_an_answer_that_the_model_does_not_give(demo: Model) -> None:
    found = locate(demo, Fact("Michael Jordan", "{} plays the sport of", "chess"))
    assert not found.known
    assert found.words.startswith("The model does not answer “chess” by itself")
    assert found.readable is None
    assert "never the likeliest" in found.words


@pytest.mark.parametrize("name", ["llama", "pythia", "gemma2", "mixtral"])
def test_other_families(name: str, demo: Model) -> None:
    found = locate(make(name, demo), Fact("Michael Jordan", "{} plays the sport of", "golf"))
    assert {len(p) for rows in found.profiles.values() for p in rows.values()} == {
        make(name, demo).n_layers
    }
