"""The text of drift: control sentences for the corpus's model, own samples of another seed for
others.
"""

from loci.facts import controls
from loci.model import Model
from loci.text import background, held_out_sentences


def test_the_embedded_models_controls_are_its_held_out_text(demo: Model) -> None:
    assert held_out_sentences(demo, 5) == controls()[:5]


def test_another_models_held_out_text_is_its_own_and_not_its_background(tiny: Model) -> None:
    found = held_out_sentences(tiny, 8)
    assert 0 < len(found) <= 8
    assert found == held_out_sentences(tiny, 8)
    assert not set(found) & set(background(tiny).split)
