"""Settings of training a dictionary: each field is an option of `loci dictionaries train`."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from loci.errors import DictionaryError

TrainedKind = Literal["topk", "batchtopk", "jumprelu", "relu", "gated", "matryoshka"]


@dataclass(frozen=True)
class DictionarySettings:
    """One dictionary to train. All are trained on one stream of activations."""

    point: str
    """Where the input is read."""
    target: str | None = None
    """Where a transcoder's output belongs; None: an autoencoder, which gives back its input."""
    width: float = 8.0
    """Features for each number of the input."""
    k: int = 32
    """Features that are on at a token: exactly so many (topk), so many on average (batchtopk,
    matryoshka), or aimed at (the others).
    """
    activation: TrainedKind = "topk"
    lr: float | None = None
    """Largest step of Adam; None: 2e-4 · √(2¹⁴ / features)."""
    warmup: float = 0.02
    decay: float = 0.2
    """Shares of the run: the step rises over the first, and falls to 0 over the last."""
    auxk: float = 1 / 32
    """Weight of the loss that lets dead features explain what is left over."""
    dead_after: float = 0.02
    """A feature that was off for this share of the run counts as dead in training."""
    bandwidth: float = 0.02
    """For jumprelu: width of the rectangle through which thresholds get gradients, on inputs of
    mean square 1.
    """
    seed: int = 0

    def features(self, d_in: int) -> int:
        return max(1, round(self.width * d_in))

    def rate(self, features: int) -> float:
        """The largest step size."""
        return self.lr if self.lr is not None else 2e-4 * math.sqrt(2**14 / features)

    def check(self, d_in: int) -> None:
        """Raise `DictionaryError` for settings that no dictionary has."""
        features = self.features(d_in)
        if self.activation not in get_args(TrainedKind):
            raise DictionaryError(
                f"no activation {self.activation!r} is trained: {', '.join(get_args(TrainedKind))}"
            )
        if not 1 <= self.k <= features:
            raise DictionaryError(
                f"k = {self.k:,}, and there would be {features:,} features: expected 1 …"
                f" {features:,}"
            )
        if not (self.warmup >= 0 and self.decay >= 0 and self.warmup + self.decay <= 1):
            raise DictionaryError("warm-up and decay are shares of the run, and 1 at most together")


def schedule(settings: DictionarySettings, step: int, steps: int) -> float:
    """The share of the largest step size at a step: linear warm-up, 1, linear decay to 0 at the
    end.
    """
    rise = min(1.0, (step + 1) / max(1, round(settings.warmup * steps)))
    fall = min(1.0, (steps - step) / max(1, round(settings.decay * steps)))
    return min(rise, fall)
