"""The curve of an MLP that fills: recall by hand, where it ends, and what it says."""

import pytest
import torch

from loci.errors import FactError, WriteError
from loci.facts import FactSet
from loci.figures import plot
from loci.model import Model
from loci.stats import share
from loci.writing import Fullness, FullnessStep, compiled, fullness
from loci.writing.fullness_curve import invented_table, steps


@pytest.fixture(scope="module")
def small(world: FactSet) -> FactSet:
    return FactSet(world.relations["athlete_sport"])


def test_numbers_to_try() -> None:
    assert steps(10, 100) == [10, 14, 20, 28, 40, 57, 80]


def test_keys_and_values_are_the_models_own(demo: Model, small: FactSet) -> None:
    table = invented_table(demo, 1, 12, small)
    assert table.keys.shape == (12, demo.d_model)
    assert torch.allclose(table.values.norm(dim=1), torch.ones(len(table.values)))
    more = invented_table(demo, 1, 20, small)
    cosines = torch.nn.functional.cosine_similarity(table.keys, more.keys[:12])
    assert torch.allclose(cosines, torch.ones(12), atol=1e-4)
    with pytest.raises(FactError, match="are asked for"):
        invented_table(demo, 1, 3, FactSet(small[:5]))


def test_few_facts_fit_and_many_do_not(demo: Model, small: FactSet) -> None:
    found = fullness(demo, 1, 2, counts=[600, 4], known=small)
    assert [rung.facts for rung in found.rungs] == [4, 600]
    last = found.rungs[-1]
    table = invented_table(demo, 1, 600, small)
    margins = table.margins(compiled(table, 2)(table.keys))
    assert last.recall.value == pytest.approx(float((margins > 0).float().mean()))
    assert last.recall.value < 0.99
    assert found.rungs[0].recall.value == 1
    assert found.fits is not None
    assert found.fits.facts < 600
    assert found.known_per_neuron == pytest.approx(
        found.known.value * len(small) / (demo.n_layers * demo.d_mlp)
    )
    assert found.to_dict()["fits"]["facts"] == found.fits.facts


def test_words_and_figure() -> None:
    rungs = [
        FullnessStep(n, n / 4, share([1.0] * (n - lost) + [0.0] * lost), 1.0)
        for n, lost in ((100, 0), (200, 1), (300, 30))
    ]
    found = Fullness("demo", 1, "compiled-relu", 4, 9, tuple(rungs), share([1.0]), 0.5)
    assert found.words.startswith("4 neurons hold 200 facts, 50 each: with more, over 1 % are lost")
    assert (
        Fullness("demo", 1, "compiled-relu", 4, 9, tuple(rungs[:1]), share([1.0]), 0.5).words.count(
            "the most that were tried"
        )
        == 1
    )
    assert Fullness(
        "demo", 1, "compiled-relu", 4, 9, tuple(rungs[2:]), share([1.0]), 0.5
    ).words.startswith("300 facts are more")
    assert "200 facts: 50 a neuron" in str(plot(found).layout.annotations)


def test_bad_wishes(demo: Model, small: FactSet) -> None:
    for words, match in (
        ({"layer": 9}, "layers are"),
        ({"neurons": 0}, "one neuron"),
        ({"counts": [0]}, "2 or more"),
        ({"counts": []}, "none"),
        ({"method": "magic"}, "no method"),
    ):
        with pytest.raises(WriteError, match=match):
            fullness(demo, known=small, **words)
