"""Cuts against plain runs, and what must hold of them."""

import pytest
import torch
from tests.model.families import make

from loci.errors import FactError, ModelError
from loci.facts import Fact, FactSet
from loci.locating import routes
from loci.locating.severed_routes import CUTS, _Recall
from loci.model import Model, complete
from loci.model.hooks import hiding, put_at
from loci.survey import text_means


@torch.no_grad()
def test_cut_edges_are_a_pattern_without_the_subject(demo: Model, jordan: Fact) -> None:
    """Against attention computed by hand: the pattern's other entries, renormalised, mix the
    values.
    """
    one = _Recall(demo, jordan, text_means(demo, *demo.names("mlp_out", "attn_out")))
    blind = hiding(..., slice(one.last, None), one.subject)
    with demo.patched({"attn_scores.4": blind}), demo.watch("attn_probs.4", "z.4", "v.4") as cut:
        demo(one.asked.ids)
    with demo.watch("attn_probs.4") as whole:
        demo(one.asked.ids)
    probs = whole["attn_probs.4"].clone()
    probs[:, :, -1, one.subject] = 0
    probs[:, :, -1] /= probs[:, :, -1].sum(-1, keepdim=True)
    torch.testing.assert_close(cut["attn_probs.4"], probs, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        cut["z.4"], torch.einsum("bhij,bjhd->bihd", probs, cut["v.4"]), atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_means_are_means(demo: Model, jordan: Fact) -> None:
    means = text_means(demo, *demo.names("mlp_out", "attn_out"))
    one = _Recall(demo, jordan, means)
    assert one.lost("mlp", [range(0)]) == pytest.approx([0.0], abs=1e-6)
    with (
        demo.patched(
            {
                f"mlp_out.{layer}": put_at(means[f"mlp_out.{layer}"], slice(None), one.subject)
                for layer in (0, 1)
            }
        ),
        demo.watch("mlp_out.1") as at,
    ):
        logits = demo(one.asked.ids)
    torch.testing.assert_close(at["mlp_out.1"][0, one.subject.start], means["mlp_out.1"])
    lost = 1 - float(logits[0, -1].softmax(-1)[one.asked.targets[0]]) / one.whole
    assert one.lost("mlp", [range(0), range(2), range(6)])[1] == pytest.approx(lost, abs=1e-5)


@torch.no_grad()
def test_each_row_has_its_own_cut(demo: Model, jordan: Fact) -> None:
    """Against one run for each window, all tokens of the batch alike."""
    one = _Recall(demo, jordan, text_means(demo, *demo.names("mlp_out", "attn_out")))
    windows = [range(layer, min(6, layer + 2)) for layer in range(6)]
    for cut in CUTS:
        alone = [one.lost(cut, [window])[0] for window in windows]
        assert one.lost(cut, windows) == pytest.approx(alone, abs=1e-5)
        assert max(alone) > 0.05


def test_recall_needs_both(demo: Model, world: FactSet) -> None:
    found = routes(
        demo, [*world.sample(12, seed=2), Fact("Michael Jordan", "{} plays the sport of", "chess")]
    )
    assert (found.n, found.unknown) == (12, 1)
    for cut in ("edges", "mlp", "attn"):
        assert 0.4 < found.all_layers[cut].value <= 1
        assert found.all_layers[cut].low < found.all_layers[cut].value
    late, early = found.by_layer["edges"][3:], found.by_layer["edges"][:3]
    assert max(e.value for e in late) > max(e.value for e in early), (
        "the answer is fetched in upper layers"
    )
    assert found.by_layer["mlp"][0].value == max(e.value for e in found.by_layer["mlp"]), (
        "and looked up in the lowest"
    )
    whole = routes(demo, world.sample(3, seed=2), window=99)
    assert whole.by_layer["mlp"][3].value == pytest.approx(whole.all_layers["mlp"].value)
    assert found.to_dict()["schema"] == "loci.routes/1"


@pytest.mark.parametrize("name", ["llama", "pythia", "gemma2", "mixtral"])
def test_other_families(name: str, demo: Model) -> None:
    model = make(name, demo)
    prompt = "{} plays the sport of"
    said = complete(model, [prompt.format("Michael Jordan")], 1)[0].strip()
    found = routes(model, [Fact("Michael Jordan", prompt, said)])
    assert len(found.by_layer["edges"]) == model.n_layers


def test_bad_input(demo: Model, world: FactSet) -> None:
    with pytest.raises(FactError, match="at least one layer"):
        routes(demo, world.sample(1), window=0)
    with pytest.raises(FactError, match="knows none"):
        routes(demo, [Fact("Michael Jordan", "{} plays the sport of", "chess")])
    with pytest.raises(ModelError, match="gives other logits"):
        routes(make("falcon-rw", demo), world.sample(1))
