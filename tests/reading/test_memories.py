"""Memories against plain runs, and where the answer is known beforehand."""

import pytest
import torch
from tests.conftest import tiny_gpt2
from tests.model.families import make

from loci.errors import ModelError
from loci.figures.reading import memories_figure
from loci.figures.theme import ORANGE
from loci.model import Model
from loci.reading import memories, project
from loci.reading.key_value_memories import _dropped
from loci.reading.value_projections import promoted_by
from loci.text import sample_text


@torch.no_grad()
def test_dropped_tokens_against_plain_runs(tiny: Model) -> None:
    ids = tiny.tokenize("Osaka is a city in the country of").ids

    def at(tokens: tuple[int, ...]) -> float:
        return float(tiny.read(tiny.ids([tokens]), "mlp_act.1")["mlp_act.1"][0, -1, 9])

    found = _dropped(tiny, 1, [9], [(0, ids, at(ids))], seed=0)
    assert found["first"][0] == pytest.approx(at(ids[:1] + ids[2:]) / at(ids) - 1, abs=1e-5)
    assert found["last"][0] == pytest.approx(at(ids[:-1]) / at(ids) - 1, abs=1e-5)
    every = [at(ids[:i] + ids[i + 1 :]) / at(ids) - 1 for i in range(1, len(ids))]
    assert min(abs(found["random"][0] - one) for one in every) < 1e-5


@torch.no_grad()
def test_composition_against_a_loop(demo: Model) -> None:
    texts = sample_text(demo, 300)
    found = memories(demo, texts, neurons=4)
    best = promoted_by(demo, 3, 1).promotes[:, 0]
    shares = []
    for text in texts:
        reads = demo.read(demo.ids([demo.tokenize(text).ids]), "mlp_act.3", "mlp_out.3")
        alone = 0
        for act, out in zip(reads["mlp_act.3"][0, 1:], reads["mlp_out.3"][0, 1:], strict=True):
            alone += int(project(demo, out).argmax()) in {
                int(best[i]) for i in act.nonzero().flatten().tolist()
            }
        shares.append(1 - alone / (len(demo.tokenize(text)) - 1))
    assert found.composed[3].value == pytest.approx(sum(shares) / len(shares), abs=1e-6)


def test_the_embedded_model_needs_the_last_token_most(demo: Model) -> None:
    found = memories(demo, sample_text(demo, 20_000), neurons=48)
    for layer in range(demo.n_layers):
        assert found.dropped["last"][layer].value < found.dropped["random"][layer].value < 0
    assert max(e.low for e in found.agreement) > max(e.value for e in found.chance), (
        "values say what follows more often than by chance"
    )
    assert found.to_dict()["schema"] == "loci.memories/1"
    assert (
        set(found.shallow).isdisjoint(found.semantic)
        and len({*found.shallow, *found.semantic}) >= 2
    )
    for layer, lean in enumerate(found.lean):
        assert lean.value == pytest.approx(
            found.dropped["first"][layer].value - found.dropped["last"][layer].value, abs=1e-6
        )
        assert (lean.low > found.mean_lean) == (layer in found.shallow)
        assert (lean.high < found.mean_lean) == (layer in found.semantic)
    colours = memories_figure(found).data[3].marker.color
    assert [colour == ORANGE for colour in colours] == [
        layer in found.shallow for layer in range(demo.n_layers)
    ]


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_other_families(name: str, demo: Model) -> None:
    assert (
        len(memories(make(name, demo), sample_text(demo, 500), neurons=4).composed)
        == make(name, demo).n_layers
    )


def test_what_cannot_be_asked(demo: Model) -> None:
    with pytest.raises(ModelError, match="mixtures"):
        memories(make("mixtral", demo), ["x"])
    with pytest.raises(ModelError, match="no text"):
        memories(tiny_gpt2(demo), [" "])
    with pytest.raises(ModelError, match="at least two neurons"):
        memories(tiny_gpt2(demo), ["x"], neurons=1)
