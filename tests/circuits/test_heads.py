"""Heads against the running model: its scores, its outputs, in four forms of attention and more;
offsets, groups, gains, biases.
"""

import pytest
import torch
from torch import Tensor

from loci.circuits import head, layer_heads, projections
from loci.circuits.rotary import rotation
from loci.errors import CircuitError, ModelError
from loci.model import Model, open_weights
from loci.model.names import parse_head
from tests.model.families import make

FORMS = ("gpt2", "pythia", "llama", "gemma")
ROTATED = ("pythia", "llama", "llama-biased", "gemma", "gpt-j", "phi", "qwen3", "bloom")
LAYER = 1


def normalised(model: Model, ids: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """A run's reads, and the stream before attention divided as its norm divides it, in the view
    "gain".
    """
    names = [
        f"{stem}.{LAYER}"
        for stem in ("resid_pre", "attn_scores", "attn_probs", "attn_out", "attn_raw")
    ]
    with model.watch(*names) as reads, torch.no_grad():
        model(ids)
    x = reads[f"resid_pre.{LAYER}"]
    z = x - x.mean(-1, keepdim=True) if model.norm("attn_norm", LAYER).centres else x
    return reads, z / z.square().mean(-1, keepdim=True).sqrt()


@pytest.mark.parametrize("name", (*FORMS, "llama-biased", "gpt-j", "phi"))
def test_scores_are_those_of_the_model(demo: Model, ids: Tensor, name: str) -> None:
    """W_QK with its offset, its gain and its biases, against what the softmax takes; what all keys
    share is free.
    """
    model = make(name, demo)
    reads, x = normalised(model, ids)
    scores, scale = reads[f"attn_scores.{LAYER}"], None
    for offset in (0, 1, 3):
        for h, one in enumerate(layer_heads(model, LAYER, offset=offset)):
            query, key = x[:, 4], x[:, 4 - offset]
            found = one.qk(query, key) + key @ one.key_bias + query @ one.query_bias
            constant = (
                projections(model, LAYER).b_Q[h]
                @ rotation(model, LAYER, offset)[h]
                @ projections(model, LAYER).b_K[h]
            )
            expected = scores[:, h, 4, 4 - offset]
            scale = float((expected / (found + constant)).mean()) if scale is None else scale
            torch.testing.assert_close((found + constant) * scale, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("name", (*FORMS, "llama-biased", "opt", "phi3"))
@torch.no_grad()
def test_outputs_are_those_of_the_model(demo: Model, ids: Tensor, name: str) -> None:
    model = make(name, demo)
    reads, x = normalised(model, ids)
    probs, heads = reads[f"attn_probs.{LAYER}"], layer_heads(model, LAYER)
    found = sum(probs[:, h] @ one.ov(x) + one.constant for h, one in enumerate(heads)) + model.b_O(
        LAYER
    )
    torch.testing.assert_close(found, reads[f"attn_out.{LAYER}"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", (*FORMS, "gemma2"))
@torch.no_grad()
def test_factored_are_the_dense_products(demo: Model, name: str) -> None:
    """Straight from the projections, head by head, the group's keys and values by hand."""
    model = make(name, demo)
    gain = model.norm("attn_norm", LAYER).gain.double()
    post = (
        model.norm("attn_post", LAYER).gain.double()
        if model.layout.attn_post
        else torch.ones(model.d_model).double()
    )
    group = model.n_heads // model.n_kv_heads
    K, V = (getattr(model, f"W_{stem}")(LAYER, expand=False).double() for stem in "KV")
    for h, one in enumerate(layer_heads(model, LAYER)):
        qk = (model.W_Q(LAYER)[h].double() * gain).T @ (K[h // group] * gain)
        ov = post[:, None] * (model.W_O(LAYER)[h].double() @ (V[h // group] * gain))
        torch.testing.assert_close(one.qk.dense.double(), qk, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one.ov.dense.double(), ov, atol=1e-5, rtol=1e-5)
        assert one.ov.norm == pytest.approx(float(ov.norm()), rel=1e-5)
        torch.testing.assert_close(
            one.qk.singular_values[: model.d_head],
            torch.linalg.svdvals(qk)[: model.d_head],
            atol=1e-5,
            rtol=1e-4,
        )
        assert one.ov.positivity == pytest.approx(positivity(ov), abs=1e-4)


def positivity(dense: Tensor) -> float:
    values = torch.linalg.eigvals(dense)
    return float(values.real.sum() / values.abs().sum())


@pytest.mark.parametrize("name", ROTATED)
def test_rotations(demo: Model, name: str) -> None:
    """None at no distance, orthogonal where no norm of queries stands before it, and two steps are
    one step twice.
    """
    model = make(name, demo)
    R = {offset: rotation(model, LAYER, offset) for offset in (0, 1, 2)}
    eye = torch.eye(model.d_head).expand_as(R[0])
    if name == "qwen3":  # its queries and keys have gains: not a rotation alone
        assert torch.allclose(R[0], torch.diag_embed(R[0].diagonal(dim1=-2, dim2=-1)), atol=1e-4)
        return
    torch.testing.assert_close(R[0], eye, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(R[1] @ R[1].mT, eye, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(R[1] @ R[1], R[2], atol=1e-3, rtol=1e-3)
    assert torch.allclose(R[1], eye, atol=1e-3) == (name == "bloom")


def test_views(demo: Model) -> None:
    model = make("gpt2", demo)
    plain, gain, centred = (head(model, "L1H2", view) for view in ("none", "gain", "centred"))
    assert torch.equal(plain.qk.right, model.W_K(1)[2])
    ones = torch.ones(model.d_model)
    assert float(centred.ov(ones).abs().max()) < 1e-4 < float(gain.ov(ones).abs().max())
    assert float((ones @ centred.ov.left).abs().max()) < 1e-4
    with pytest.raises(CircuitError, match="no view"):
        head(model, "L1H2", "half")  # type: ignore[arg-type]


def test_weights_on_disk_have_heads_without_offsets(demo: Model) -> None:
    weights = open_weights("demo")
    assert torch.equal(head(weights, "L0H3").ov.left, head(demo, "L0H3").ov.left)
    with pytest.raises(CircuitError, match="a model that runs"):
        head(weights, "L0H3", offset=1)


def test_names_and_offsets_out_of_range(demo: Model) -> None:
    assert parse_head("L5H7", demo) == (5, 7)
    for name, message in (("L6H0", "no layer 6"), ("L0H8", "no head 8"), ("L1N2", "names no head")):
        with pytest.raises(ModelError, match=message):
            parse_head(name, demo)
    for offset, message in ((-1, "looks back"), (128, "beyond the context")):
        with pytest.raises(CircuitError, match=message):
            head(demo, "L0H0", offset=offset)
    with pytest.raises(CircuitError, match="does not look back"):
        rotation(make("mistral", demo), 1, 9)
