"""An MLP by itself, as plain matrices: what a store is made of.

    plain   y = W_down · act(W_up · x + b_up)
    gated   y = W_down · (act(W_gate · x + b_gate) ∘ (W_up · x))

The residual stream around it, and an output bias, belong to whoever uses it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from loci.errors import WriteError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "identity": lambda x: x,
}


@dataclass(frozen=True)
class MLP:
    """Weights as they stand in a transformer: [out, in], acting on column vectors."""

    act: str
    W_up: Float[Tensor, "neuron d_in"]
    W_down: Float[Tensor, "d_out neuron"]
    bias: Float[Tensor, " neuron"] | None = None
    """Of what the activation takes: b_up in a plain MLP, b_gate in a gated one."""
    W_gate: Float[Tensor, "neuron d_in"] | None = None

    def __post_init__(self) -> None:
        if self.act not in ACTIVATIONS:
            raise WriteError(f"there is no activation {self.act!r}: {', '.join(ACTIVATIONS)}")

    def __call__(self, keys: Float[Tensor, "fact d_in"]) -> Float[Tensor, "fact d_out"]:
        return self.neurons(keys) @ self.W_down.T

    def pre(self, keys: Float[Tensor, "fact d_in"]) -> Float[Tensor, "fact neuron"]:
        """Pre-activations."""
        pre = keys @ (self.W_up if self.W_gate is None else self.W_gate).T
        return pre if self.bias is None else pre + self.bias

    def neurons(self, keys: Float[Tensor, "fact d_in"]) -> Float[Tensor, "fact neuron"]:
        active = ACTIVATIONS[self.act](self.pre(keys))
        return active if self.W_gate is None else active * (keys @ self.W_up.T)

    @property
    def size(self) -> int:
        """Neurons."""
        return len(self.W_up)

    @property
    def parameters(self) -> int:
        """Every stored number, biases included."""
        return sum(t.numel() for t in self.tensors.values())

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights that are there, by name."""
        names = ("W_up", "W_gate", "bias", "W_down")
        return {name: tensor for name in names if (tensor := getattr(self, name)) is not None}

    def map(self, change: Callable[[Tensor], Tensor]) -> "MLP":
        """The same MLP with every tensor changed: `mlp.map(Tensor.float)`."""
        return MLP(self.act, **{name: change(tensor) for name, tensor in self.tensors.items()})

    def scaled(self, factor: float) -> "MLP":
        """The same MLP with its output scaled."""
        return MLP(self.act, **{**self.tensors, "W_down": self.W_down * factor})

    def jacobians(self, keys: Float[Tensor, "fact d_in"]) -> Float[Tensor, "fact d_out d_in"]:
        """∂y/∂x at each key."""
        single: Callable[[Tensor], Tensor] = lambda key: self(key[None])[0]  # noqa: E731
        jacobian: Any = torch.func.vmap(torch.func.jacrev(single))
        return torch.cat([jacobian(part) for part in keys.split(256)])


def check_neurons(neurons: int) -> None:
    """Raise `WriteError` for a budget of none."""
    if neurons < 1:
        raise WriteError(f"a store needs one neuron at least, not {neurons}")
