"""How a small model is made: the fields are the options of `loci circuits train`, and what
training.json keeps."""

from dataclasses import dataclass

from loci.errors import CircuitError

RATES = {"adam": 4e-3, "sgd": 1.0}
"""The optimizers, and the rate of each where none is said: found on made text at the default
sizes."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A small model and its training."""

    layers: int = 2
    """Layers of attention: 0, 1 or 2."""
    heads: int = 4
    """Heads of a layer."""
    d_head: int = 16
    """Dimensions of a head; the stream has heads · d_head."""
    mlp: int = 0
    """Neurons of a layer's MLP; 0: attention only."""
    optimizer: str = "adam"
    """adam, or sgd: plain, without momentum."""
    rate: float | None = None
    """Learning rate; by default what suits the optimizer."""
    steps: int = 1200
    """Steps of training."""
    batch: int = 64
    """Windows of a step."""
    context: int = 64
    """Tokens of a window."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        if self.optimizer not in RATES:
            raise CircuitError(
                f"there is no optimizer {self.optimizer!r}: expected {', '.join(RATES)}"
            )
        if self.steps < 1 or self.batch < 1:
            raise CircuitError(
                f"{self.steps} steps of {self.batch} windows are no training: at least one of each "
                "is needed"
            )
        if self.learning_rate <= 0:
            raise CircuitError(f"a learning rate is above 0, not {self.learning_rate}")

    @property
    def d_model(self) -> int:
        return self.heads * self.d_head

    @property
    def name(self) -> str:
        """A folder's name that tells recipes of one context, batch and rate apart."""
        mlp = f"-mlp{self.mlp}" if self.mlp else ""
        sizes = f"layers{self.layers}-heads{self.heads}x{self.d_head}{mlp}"
        return f"{sizes}-{self.optimizer}-steps{self.steps}-seed{self.seed}"

    @property
    def learning_rate(self) -> float:
        return RATES[self.optimizer] if self.rate is None else self.rate

    def rate_at(self, step: int, warmup: int = 50) -> float:
        """Up over the first steps, constant to the middle, then straight down to 0."""
        return self.learning_rate * min(1.0, (step + 1) / warmup, 2 * (1 - step / self.steps))
