"""One dictionary in training: its parameters, a step on a batch, its state, and the canonical form
it ends in.

    loss = ‖y − ŷ‖² / Var(y) + auxk · ‖(y − ŷ) − ê‖² / ‖y − ŷ‖²
        ê: from dead features alone (AuxK; Gao et al. 2024, A.2)

Inputs are scaled so that E‖x‖² = 1, and so are a transcoder's outputs; both are folded at the end.
Decoder rows have length 1 and take no step along themselves. The encoder starts as the decoder; a
transcoder's as the keys and values of the MLP that it explains.
"""

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from loci.dictionaries.dictionary import ActivationKind, Dictionary
from loci.dictionaries.folding import with_input_scale, with_output_scale, without_input_bias
from loci.dictionaries.settings import DictionarySettings, schedule
from loci.dictionaries.sparse_losses import LOSSES, StepLoss

BETA = 0.99
"""Of the running mean of a batch's smallest kept feature: the threshold with which batch top-k is
used later.
"""


@dataclass(frozen=True)
class Scales:
    """Divisors of the inputs and outputs, and their means after division."""

    x: float
    y: float
    mean_x: Float[Tensor, " d_in"]
    mean_y: Float[Tensor, " d_out"]
    variance: float
    """Of the divided outputs: E‖y − ȳ‖²."""

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> "Scales":
        """E‖x‖² = 1 after division."""
        sx, sy = (float(v.square().sum(-1).mean().sqrt().clamp(min=1e-12)) for v in (x, y))
        mean_y = y.mean(0) / sy
        spread = float((y / sy - mean_y).square().sum(-1).mean())
        return cls(sx, sy, x.mean(0) / sx, mean_y, max(spread, 1e-12))


class Learner:
    """A dictionary in training. Its state is its tensors; `step` is deterministic in them and the
    batch.
    """

    def __init__(
        self,
        settings: DictionarySettings,
        scales: Scales,
        steps: int,
        start: Dictionary | None = None,
    ) -> None:
        """`start` gives the directions of the first features, in plain (undivided) units."""
        self.settings, self.scales, self.steps = settings, scales, steps
        self.d_in, self.d_out = len(scales.mean_x), len(scales.mean_y)
        self.features = settings.features(self.d_in)
        generator = torch.Generator().manual_seed(settings.seed)
        W_dec = torch.randn(self.features, self.d_out, generator=generator)
        W_dec /= W_dec.norm(dim=1, keepdim=True)
        W_enc = (
            W_dec.clone()
            if settings.target is None
            else torch.randn(self.features, self.d_in, generator=generator)
        )
        if start is not None:
            n = min(self.features, start.features)
            W_enc[:n], W_dec[:n] = start.W_enc[:n] * scales.x, start.W_dec[:n] / scales.y
        if settings.target is not None:
            W_enc /= W_enc.norm(dim=1, keepdim=True).clamp(min=1e-12)
        W_dec /= W_dec.norm(dim=1, keepdim=True).clamp(min=1e-12)
        n, zeros = self.features, torch.zeros(self.features)
        self.parameters = {
            "W_enc": W_enc,
            "b_enc": zeros,
            "W_dec": W_dec,
            "b_dec": scales.mean_y.clone(),
        }
        if settings.activation == "jumprelu":
            self.parameters["log_threshold"] = torch.full((n,), settings.bandwidth).log()
        if settings.activation == "gated":
            self.parameters |= {"r": torch.zeros(n), "b_gain": torch.zeros(n)}
        self.parameters = {
            name: value.clone().requires_grad_() for name, value in self.parameters.items()
        }
        self.optimiser = torch.optim.Adam(
            self.parameters.values(), lr=settings.rate(n), betas=(0.9, 0.999), fused=True
        )
        self.done = 0
        self.off = torch.zeros(n, dtype=torch.long)
        """Steps since each feature was last on."""
        self.threshold, self.penalty = torch.zeros(()), torch.full((), 1e-3)
        self.fvu, self.l0 = float("nan"), float("nan")

    @property
    def dead(self) -> Tensor:
        """Which features were off for too long."""
        return self.off >= max(1, round(self.settings.dead_after * self.steps))

    def step(self, x: Float[Tensor, "batch d_in"], y: Float[Tensor, "batch d_out"]) -> None:
        """One step of Adam on a batch in plain units."""
        with torch.no_grad():
            inner = x / self.scales.x - self.scales.mean_x
            outer = y / self.scales.y
        parts = LOSSES[self.settings.activation](self, inner, outer)
        loss = parts.error.square().sum(-1).mean() / self.scales.variance + parts.extra
        if self.settings.auxk and bool(self.dead.any()):
            loss = loss + self.settings.auxk * self._auxiliary(inner, parts.error.detach())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            W, grad = self.parameters["W_dec"], self.parameters["W_dec"].grad
            assert grad is not None
            grad -= (grad * W).sum(1, keepdim=True) * W
            rate = schedule(self.settings, self.done, self.steps)
            self.optimiser.param_groups[0]["lr"] = self.settings.rate(self.features) * rate
            self.optimiser.step()
            W /= W.norm(dim=1, keepdim=True)
        self._note(parts, len(x))

    def _note(self, loss: StepLoss, rows: int) -> None:
        """Update the running statistics after a step: which features were on, the threshold, the
        weight of the penalty.
        """
        self.off += 1
        self.off[loss.on] = 0
        self.fvu = float(loss.error.detach().square().sum(-1).mean()) / self.scales.variance
        self.l0 = loss.count / rows
        if loss.smallest is not None:
            decay = min(BETA, self.done / (self.done + 1))
            self.threshold = decay * self.threshold + (1 - decay) * loss.smallest
        if self.settings.activation in ("relu", "gated"):
            away = max(-1.0, min(1.0, self.l0 / self.settings.k - 1))
            self.penalty = self.penalty * math.exp(max(0.02, 20 / self.steps) * away)
        self.done += 1

    def _auxiliary(self, x: Tensor, error: Tensor) -> Tensor:
        """How much of the error the dead features leave: ‖e − ê‖² / ‖e‖², by the strongest of them,
        at most half as many as d_in.
        """
        dead = self.dead.nonzero()[:, 0]
        k = min(len(dead), max(1, self.d_in // 2))
        W_enc, b_enc, W_dec = (self.parameters[name][dead] for name in ("W_enc", "b_enc", "W_dec"))
        pre = x @ W_enc.T + b_enc
        top = pre.topk(k, dim=-1, sorted=False)
        guess = torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu()) @ W_dec
        share = (error - guess).square().sum() / error.square().sum().clamp(min=1e-12)
        return share * min(1.0, len(dead) / k)

    def state(self) -> dict[str, Tensor]:
        """All that goes on changes, as tensors."""
        tensors = {f"parameter/{name}": value.detach() for name, value in self.parameters.items()}
        for name, value in self.parameters.items():
            for key, moment in self.optimiser.state[value].items():
                tensors[f"optimiser/{name}/{key}"] = moment
        progress = torch.tensor([self.done], dtype=torch.long)
        floats = torch.tensor([self.fvu, self.l0], dtype=torch.float64)
        return {
            **tensors,
            "off": self.off,
            "threshold": self.threshold,
            "penalty": self.penalty,
            "done": progress,
            "floats": floats,
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
        for name, value in self.parameters.items():
            value.data.copy_(state[f"parameter/{name}"])
            start = f"optimiser/{name}/"
            moments = {
                key.removeprefix(start): tensor.clone()
                for key, tensor in state.items()
                if key.startswith(start)
            }
            if moments:
                self.optimiser.state[value] = moments
        self.off, self.threshold, self.penalty = (
            state[name].clone() for name in ("off", "threshold", "penalty")
        )
        self.done = int(state["done"])
        self.fvu, self.l0 = state["floats"].tolist()

    def dictionary(self, **about: Any) -> Dictionary:
        """The canonical form, in plain units: scales folded, nothing subtracted from the input."""
        kind = self.settings.activation
        used: ActivationKind = (
            "jumprelu" if kind in ("batchtopk", "matryoshka") else cast(ActivationKind, kind)
        )
        p = {name: value.detach().clone() for name, value in self.parameters.items()}
        threshold = None
        if kind in ("batchtopk", "matryoshka"):
            threshold = self.threshold.float().expand(self.features).clone()
        elif kind == "jumprelu":
            threshold = p["log_threshold"].exp()
        scaled = Dictionary(
            W_enc=p["W_enc"],
            b_enc=p["b_enc"],
            W_dec=p["W_dec"],
            b_dec=p["b_dec"],
            activation=used,
            b_in=self.scales.mean_x,
            threshold=threshold,
            k=self.settings.k if kind == "topk" else None,
            gain=p["r"].exp() if kind == "gated" else None,
            b_gain=p["b_gain"] if kind == "gated" else None,
            transcoder=self.settings.target is not None,
            point=self.settings.point,
            target=self.settings.target,
            **about,
        )
        return without_input_bias(
            with_output_scale(with_input_scale(scaled, 1 / self.scales.x), self.scales.y)
        )
