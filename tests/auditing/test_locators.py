"""Methods of locating where the truth is plain: a neuron a fact."""

import pytest

from loci.auditing import locators, score_locators
from loci.writing import PlantedModel, planted


@pytest.fixture(scope="module")
def made() -> PlantedModel:
    return planted("one-per-fact", subjects=48)


@pytest.mark.parametrize("method", ["probe", "single step", "neurons: ablated"])
def test_a_neuron_a_fact_is_found(made: PlantedModel, method: str) -> None:
    """The attribute becomes readable where it is written, by an AND of the names, in the one neuron
    whose silence costs the answer.
    """
    (found,) = score_locators(made, {method: locators(made.facts)[method]}, count=6).rows
    assert found.layer.value == 1
    assert found.gave_up == 0
    if method == "neurons: ablated":
        assert found.precision.value == found.recall.value == 1


def test_what_looks_at_a_relation_gives_up_on_too_few_facts(made: PlantedModel) -> None:
    few = {
        name: method
        for name, method in locators(made.facts[:6]).items()
        if name in ("probe", "single step")
    }
    assert [row.gave_up for row in score_locators(made, few, count=4).rows] == [4, 4]
