"""The curvature of an output: against plain autograd, and against the KL of steps along it."""

import pytest
import torch

from loci.editing.curvature import output_curvature, whitening
from loci.editing.descent import PolyakDescent
from loci.editing.prompts import TrainingPrompt
from loci.model import Model


def whole(model: Model):
    """Log-probabilities over the whole vocabulary."""
    return lambda streams, prompts: model.unembed(streams).float().log_softmax(-1)


def test_it_is_the_outer_product_of_gradients(demo: Model) -> None:
    """Of log P(t), for the tokens that the same seed draws, with all else done by hand."""
    ids = demo.tokenize("Osaka is a city in Japan.").ids[:6]
    prompt = TrainingPrompt(0, ids, 1, (2, 5))
    (G,) = output_curvature(demo, [4], [[prompt]], whole(demo), each="prompt").values()
    added = torch.zeros(1, len(ids), demo.d_model, requires_grad=True)
    with torch.enable_grad(), demo.patched({"mlp_raw.4": lambda out: out + added}):
        scores = demo(demo.ids([ids]))[0, [2, 5]].log_softmax(-1)
    drawing = torch.Generator().manual_seed(0)
    tokens = torch.multinomial(scores.detach().exp(), 1, generator=drawing)
    (g,) = torch.autograd.grad(scores.gather(-1, tokens).sum(), added)
    torch.testing.assert_close(G, g[0].T @ g[0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_half_its_square_is_the_kl_of_a_small_step(demo: Model) -> None:
    """Of an output that one position alone feels: above it there is no other, and it is read there.

    400 drawn tokens stand for the expectation.
    """
    ids, last = demo.tokenize("Osaka is a city in Japan and").ids, demo.n_layers - 1
    prompts = [TrainingPrompt(0, ids, 1, (len(ids) - 1,))] * 400
    (G,) = output_curvature(demo, [last], [prompts], whole(demo), each="prompt").values()
    before = demo(demo.ids([ids]))[0, -1].log_softmax(-1)
    for seed in range(3):
        step = torch.randn(demo.d_model, generator=torch.Generator().manual_seed(seed))
        step *= (0.002 / (step @ G @ step)).sqrt()
        with demo.patched({f"mlp_raw.{last}": lambda out, step=step: out + step}):
            after = demo(demo.ids([ids]))[0, -1].log_softmax(-1)
        assert float((before.exp() * (before - after)).sum()) == pytest.approx(0.001, rel=0.5)


@pytest.mark.parametrize("damping", [0.01, 1.0])
def test_whitening_makes_the_damped_curvature_one(damping: float) -> None:
    A = torch.randn(12, 9, generator=torch.Generator().manual_seed(0)).double()
    G = A @ A.T
    U = whitening(G, damping)
    damped = G + damping * G.diagonal().mean() * torch.eye(12).double()
    torch.testing.assert_close(U @ damped @ U, torch.eye(12).double(), atol=1e-8, rtol=0)


def test_where_nothing_matters_nothing_is_whitened() -> None:
    assert torch.equal(whitening(torch.zeros(5, 5), 0.1), torch.eye(5).double())


def test_polyak_goes_to_the_least_change() -> None:
    """Under-determined least squares from 0: the solution of least norm."""
    A = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]])
    b = torch.tensor([1.0, 2.0])
    x = torch.zeros(3, requires_grad=True)
    descent = PolyakDescent([x], 0.5)
    for _ in range(300):
        loss = (A @ x - b).square().sum()
        loss.backward()
        descent.step(float(loss.detach()), 1.0)
    torch.testing.assert_close(x.detach(), torch.linalg.pinv(A) @ b, atol=1e-3, rtol=0)
