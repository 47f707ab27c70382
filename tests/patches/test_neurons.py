"""Neurons added to MLPs of every form that takes them: the same beside a model, in a wider copy,
and in what plain transformers loads.
"""

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.activations import ACT2FN

from loci.errors import PatchError
from loci.model import Model, open_model
from loci.patches import (
    AddedNeurons,
    Patch,
    apply_to_folder,
    beside,
    revert_to_folder,
    takes_neurons,
    widened,
)
from loci.patches.neurons import ACTIVATIONS
from tests.model.families import SUPPORTED, make

TAKE = (
    "gpt2",
    "gpt-neo",
    "gpt-j",
    "pythia",
    "neox-sequential",
    "opt",
    "llama",
    "llama-biased",
    "phi",
)


def some(model: Model, seed: int = 0) -> dict[int, AddedNeurons]:
    """Different numbers of random neurons in two layers."""
    source = torch.Generator().manual_seed(seed)
    counts = {0: 5, model.n_layers - 1: 2}
    return {
        layer: AddedNeurons(
            *(
                torch.randn(*shape, generator=source)
                for shape in ((n, model.d_model), (n,), (model.d_model, n))
            )
        )
        for layer, n in counts.items()
    }


@torch.no_grad()
@pytest.mark.parametrize("name", TAKE)
def test_beside_in_a_copy_and_on_disk(name: str, demo: Model, ids: torch.Tensor, tmp_path) -> None:
    model = make(name, demo)
    patch = Patch("install", model.fingerprint, name, {}, (), neurons=some(model))
    with patch.applied(model):
        promised = model(ids)
    assert not torch.allclose(promised, model(ids), atol=1e-2)
    assert torch.allclose(widened(model, patch.neurons)(ids), promised, atol=1e-4)
    apply_to_folder(patch, model, tmp_path / "wide")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "wide").eval()
    assert torch.allclose(plain(ids).logits, promised, atol=1e-4)
    revert_to_folder(patch, open_model(tmp_path / "wide"), tmp_path / "wide", tmp_path / "back")
    assert open_model(tmp_path / "back").fingerprint == patch.base == model.fingerprint


@torch.no_grad()
def test_by_hand(demo: Model, ids: torch.Tensor) -> None:
    """What the MLP of a Llama writes, and beside it down · silu(up · x + bias)."""
    model = make("llama", demo)
    part = some(model)[0]
    at = model.read(ids, "mlp_in.0", "mlp_out.0")
    with beside(model, {0: part}):
        found = model.read(ids, "mlp_out.0")["mlp_out.0"]
    x = at["mlp_in.0"].double()
    z = x @ part.up.double().T + part.bias.double()
    assert torch.allclose(
        (found - at["mlp_out.0"]).double(), z * z.sigmoid() @ part.down.double().T, atol=1e-4
    )


def test_who_takes_neurons(demo: Model) -> None:
    found = {name for name in SUPPORTED if takes_neurons(make(name, demo))}
    assert found == set(TAKE)
    model = make("mistral", demo)
    with pytest.raises(PatchError, match="mlp_bias"), beside(model, some(model)):
        pass
    with pytest.raises(PatchError, match="takes no neurons"):
        widened(model, some(model))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_transformers(name: str) -> None:
    x = torch.linspace(-6, 6, 101)
    assert torch.allclose(ACTIVATIONS[name](x), ACT2FN[name](x), atol=1e-6)
