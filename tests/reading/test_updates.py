"""Sub-updates against the MLP's own output, and against the lens."""

import pytest
import torch
from tests.model.families import make

from loci.errors import ModelError
from loci.figures.reading import updates_figure
from loci.locating import lens
from loci.model import Model
from loci.reading import project, sub_updates

PROMPT = "Michael Jordan plays the sport of"


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "pythia"])
def test_all_sub_updates_sum_to_the_mlps_output(name: str, demo: Model) -> None:
    model = make(name, demo)
    found = sub_updates(model, PROMPT, top=model.d_mlp)
    out = model.read(model.ids([model.tokenize(PROMPT).ids]), *model.names("mlp_out"))
    for layer, updates in enumerate(found.layers):
        total = model.b_down(layer).clone().float()
        for update in updates:
            value = model.W_down(layer)[:, int(update.name.partition("N")[2])]
            total += update.coefficient * value
            assert update.size == pytest.approx(
                abs(update.coefficient) * float(value.norm()), rel=1e-4, abs=1e-7
            )
        torch.testing.assert_close(total, out[f"mlp_out.{layer}"][0, -1], atol=1e-4, rtol=1e-4)
        sizes = [update.size for update in updates]
        assert sizes == sorted(sizes, reverse=True)
        assert sum(update.share for update in updates) == pytest.approx(1, abs=1e-4)
        held = [sum(sizes[:count]) for count in (found.half[layer] - 1, found.half[layer])]
        assert held[0] < 0.5001 * sum(sizes) and held[1] > 0.4999 * sum(sizes)


@torch.no_grad()
def test_the_lens_names_the_same(demo: Model) -> None:
    found, rungs = sub_updates(demo, PROMPT), lens(demo, PROMPT, "basketball").layers
    for updates, rung in zip(found.layers, rungs, strict=True):
        assert [update.name for update in updates] == [update.name for update in rung.updates]
        first = updates[0]
        value = first.coefficient * demo.W_down(rung.layer)[:, int(first.name.partition("N")[2])]
        assert first.promotes[0] == demo.token_text(int(project(demo, value).argmax()))
    document = found.to_dict()
    assert document["schema"] == "loci.sub_updates/1" and len(document["layers"]) == demo.n_layers
    assert updates_figure(found).data[0].z[0][2] == pytest.approx(found.layers[2][0].share)


def test_what_cannot_be_asked(demo: Model) -> None:
    with pytest.raises(ModelError, match="empty"):
        sub_updates(demo, " ")
    with pytest.raises(ModelError, match="mixtures"):
        sub_updates(make("mixtral", demo), PROMPT)
    with pytest.raises(ModelError, match="at least one"):
        sub_updates(demo, PROMPT, top=0)
