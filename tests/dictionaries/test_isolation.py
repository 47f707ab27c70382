"""Attributes in a planted model, whose neurons each hold one fact; and the choosing by hand."""

import pytest
import torch

from loci.dictionaries import attribute_isolation
from loci.dictionaries.interchange import EVERYTHING, probe_directions
from loci.dictionaries.isolation import explained_share
from loci.errors import DictionaryError
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.writing import planted
from tests.dictionaries.test_graphs import exact


def test_the_explained_share_by_hand() -> None:
    values = torch.tensor([[0.0, 1, 5], [2, 1, 5], [10, 3, 5], [12, 3, 5]])
    found = explained_share(values, ["a", "a", "b", "b"])
    assert found.tolist() == pytest.approx([100 / 104, 1, 0], abs=1e-6)


def test_a_probe_finds_the_direction_that_tells_labels_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(200, 6, generator=generator)
    found = probe_directions(y, ["high" if row[2] > 0 else "low" for row in y])
    assert found.shape == (6, 1)
    assert abs(float(found[2, 0])) > 0.95
    assert float(found.norm()) == pytest.approx(1, abs=1e-5)


def test_planted_facts_come_apart_by_neuron_as_by_exact_feature() -> None:
    made = planted("one-per-fact", subjects=32)
    layer = made.places[0].layer
    found = attribute_isolation(
        made.model, exact(made.model, layer), made.facts, pairs=12, counts=(400,)
    )
    rows = {row.basis: row for row in found.rows}
    assert rows["features"][2:] == rows["neurons"][2:]  # an exact dictionary's are the neurons
    assert rows[EVERYTHING].cause.value >= rows["random directions"].cause.value
    assert all(0 <= row.score <= 1 and row.cause.n == found.pairs for row in found.rows)
    assert "Cause and isolation" in found.summary()[0] and len(found.tables()[0].rows) == 5


def test_what_cannot_be_asked(demo: Model) -> None:
    alone = FactSet([Fact("Michael Jordan", "{} plays the sport of", "basketball", relation="s")])
    with pytest.raises(DictionaryError, match="another relation"):
        attribute_isolation(demo, exact(demo, 0), alone)
