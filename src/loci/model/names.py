"""Names of parts: heads `L5H3`, neurons `L12N345`, of a mixture's experts `L1E2N37`."""

import re

from loci.errors import ModelError
from loci.model.weights import Weights

HEAD = re.compile(r"L(\d+)H(\d+)")
NEURON = re.compile(r"L(\d+)(?:E(\d+))?N(\d+)")


def check_layer(weights: Weights, layer: int) -> None:
    """Raise `ModelError` for a layer that the model does not have."""
    if not 0 <= layer < weights.n_layers:
        has = f"has 0 … {weights.n_layers - 1}" if weights.n_layers else "has none"
        raise ModelError(f"there is no layer {layer}: {weights.name!r} {has}")


def head_name(layer: int, head: int) -> str:
    return f"L{layer}H{head}"


def parse_head(name: str, weights: Weights) -> tuple[int, int]:
    """`L1H3` → (1, 3). Raises `ModelError` for another form or a head that the model does not
    have.
    """
    match = HEAD.fullmatch(name.strip())
    if match is None:
        raise ModelError(f"{name!r} names no head: expected a form like L1H3")
    layer, head = int(match[1]), int(match[2])
    check_layer(weights, layer)
    if head >= weights.n_heads:
        raise ModelError(
            f"there is no head {head}: {weights.name!r} has 0 … {weights.n_heads - 1} in each layer"
        )
    return layer, head


def neuron_name(layer: int, neuron: int, expert: int | None = None) -> str:
    return f"L{layer}{'' if expert is None else f'E{expert}'}N{neuron}"


def parse_neuron(name: str, weights: Weights) -> tuple[int, int, int | None]:
    """`L1N37` → (1, 37, None), and of a mixture's experts `L1E2N37` → (1, 37, 2).

    Raises `ModelError` for another form or a neuron that the model does not have.
    """
    match = NEURON.fullmatch(name.strip())
    if match is None:
        raise ModelError(
            f"{name!r} names no neuron: expected a form like L1N37, or L1E2N37 of expert 2 in a"
            " mixture"
        )
    layer, neuron, expert = (
        int(match[1]),
        int(match[3]),
        None if match[2] is None else int(match[2]),
    )
    if (expert is None) == bool(weights.n_experts):
        what = (
            f"mixtures of {weights.n_experts} experts, so name one, as in L{layer}E0N{neuron}"
            if weights.n_experts
            else "no mixtures"
        )
        raise ModelError(f"{name}: the MLPs of {weights.name!r} are {what}")
    if (
        layer >= weights.n_layers
        or neuron >= weights.d_mlp
        or (expert or 0) >= max(1, weights.n_experts)
    ):
        last = f"E{weights.n_experts - 1}" if weights.n_experts else ""
        raise ModelError(
            f"{name}: this model has L0{last and 'E0'}N0 …"
            f" L{weights.n_layers - 1}{last}N{weights.d_mlp - 1}"
        )
    return layer, neuron, expert
