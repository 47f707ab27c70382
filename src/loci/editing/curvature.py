"""How much a text minds what an MLP writes: the curvature of its KL in each direction.

    KL(before ‖ after) ≈ ½ Σ_l tr(ΔW_l C_l ΔW_lᵀ G_l)      C_l = E k kᵀ     k: the layer's neurons
                                                           G_l = E g gᵀ     g = ∂ log P(t) / ∂ y

over the positions of the text; y is the output of the down projection, t a token drawn from P. G is
the Fisher information of y, and C ⊗ G its Kronecker-factored approximation for W_down. In
coordinates in which both are 1,

    ΔW = U R Q        U = (G + damping)^−½        Q C Qᵀ = 1        KL ≈ ½ ‖R‖²

a step down the slope of a loss buys the most for the KL that it costs the text, and its length
means about the same in every layer and model. The approximation takes positions, keys and gradients
for independent: it orders directions well, and is of the right magnitude.
Sources: Martens & Grosse 2015 (K-FAC); for edits, CrispEdit (2026, arXiv 2602.15823), which
projects onto directions of low curvature instead.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.prompts import TrainingPrompt
from loci.linalg import symmetric_eigen
from loci.model import Model
from loci.model.hooks import StopForward

Curvature = Float[Tensor, "d_model d_model"]
LogProbs = Callable[
    [Float[Tensor, "spot d_model"], Sequence[TrainingPrompt]], Float[Tensor, "spot token"]
]


def whitening(G: Curvature, damping: float) -> Float[Tensor, "d_model d_model"]:
    """U = (G + damping · mean diagonal)^−½, in float64; 1 where there is no curvature at all."""
    values, vectors = symmetric_eigen(G.double(), "the curvature of the output")
    values = values.clamp(min=0)
    if not float(values.mean()) > 0:
        return torch.eye(len(G), dtype=torch.float64)
    return (vectors * (values + damping * values.mean()).rsqrt()) @ vectors.T


def output_curvature(
    model: Model,
    layers: Sequence[int],
    batches: Iterable[Sequence[TrainingPrompt]],
    logprobs: LogProbs,
    *,
    each: str = "position",
    seed: int = 0,
) -> dict[int, Curvature]:
    """G of each layer over prompts, read where they say, in float32.

    Args:
        model: an open model.
        layers: those whose down projections are asked about.
        batches: prompts that are run together, of any length.
        logprobs: log-probabilities of the next token from the last residual stream.
        each: what the sum of g gᵀ is divided by: the "position"s of all prompts, or the "prompt"s.
        seed: of the tokens that are drawn.

    Cost: one forward and one backward pass.
    """
    G = {layer: torch.zeros(model.d_model, model.d_model) for layer in layers}
    count, drawing = 0, torch.Generator().manual_seed(seed)
    for batch in batches:
        for layer, g in _gradients(model, layers, batch, logprobs, drawing).items():
            G[layer] += g.T @ g
        count += len(batch) if each == "prompt" else sum(len(prompt.ids) for prompt in batch)
    return {layer: total / max(1, count) for layer, total in G.items()}


@torch.enable_grad()
def _gradients(
    model: Model,
    layers: Sequence[int],
    batch: Sequence[TrainingPrompt],
    logprobs: LogProbs,
    drawing: torch.Generator,
) -> dict[int, Float[Tensor, "position d_model"]]:
    """g at every position of a batch that is no padding, on the CPU."""
    ids = model.padded([prompt.ids for prompt in batch])[0]
    added = {
        layer: torch.zeros(*ids.shape, model.d_model, device=model.device, requires_grad=True)
        for layer in layers
    }
    streams: list[Tensor] = []

    def stop(stream: Tensor) -> None:
        streams.append(stream)
        raise StopForward

    def plus(value: Tensor, out: Tensor) -> Tensor:
        return out + value.to(out.dtype)

    points = {f"mlp_raw.{layer}": partial(plus, value) for layer, value in added.items()}
    with (
        model.frozen(),
        model.patched({**points, f"resid_post.{model.n_layers - 1}": stop}),
        suppress(StopForward),
    ):
        model(ids)
    rows = [row for row, prompt in enumerate(batch) for _ in prompt.positions]
    scores = logprobs(streams[0][rows, [p for prompt in batch for p in prompt.positions]], batch)
    tokens = torch.multinomial(scores.detach().exp().cpu(), 1, generator=drawing)
    total = scores.gather(-1, tokens.to(scores.device)).sum()
    found = torch.autograd.grad(total, list(added.values()))
    within = torch.tensor(
        [[p < len(prompt.ids) for p in range(ids.shape[1])] for prompt in batch], device=ids.device
    )
    return {layer: g[within].float().cpu() for layer, g in zip(added, found, strict=True)}
