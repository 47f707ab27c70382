"""Which memories speak at the end of a prompt: sub-updates ranked by |coefficient| · ‖value‖
(Geva et al.

2022).

    Δx = Σᵢ aᵢ vᵢ + b        size of a sub-update = |aᵢ| · ‖vᵢ‖        share = its size over the sum
                                                                       of all sizes in its layer

Sizes say how much is written, not whether it helps an answer; `loci lens` says what each adds to an
answer's score. A sub-update with a negative coefficient writes against what its value promotes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch

from loci.errors import ModelError
from loci.model import Model
from loci.model.updates import update_sizes
from loci.reading.value_projections import project, written
from loci.result import About, Result
from loci.tables import Table, columns, joined


class SubUpdate(NamedTuple):
    """One neuron's part of an MLP's output."""

    name: str
    coefficient: float
    size: float
    share: float
    promotes: tuple[str, ...]
    """First tokens of coefficient · value."""


@dataclass(frozen=True)
class SubUpdates(Result):
    """The largest sub-updates of each layer at a prompt's last token."""

    about: ClassVar[About] = About(
        "which memories speak",
        "Which neurons write most after a prompt?",
        "Bars are |coefficient| · ‖value‖ of the largest in each layer. Size is not use.",
        "reading.updates_figure",
    )

    model: str
    bos: bool
    prompt: str
    layers: tuple[tuple[SubUpdate, ...], ...]
    half: tuple[int, ...]
    """By layer, how many sub-updates hold half of the sum of sizes."""
    neurons: int
    """Neurons in each layer."""

    def title(self) -> str:
        return f"{self.prompt}: what each layer writes most at the last token"

    def tables(self) -> tuple[Table, ...]:
        heads = columns("neuron", "coefficient|+.2f", "size|.2f", "share|.1%", "writes")
        return tuple(
            Table(
                f"layer {layer}",
                heads,
                tuple((*own[:4], joined(own[4])) for own in updates),
                note=f"{half} of {self.neurons:,} neurons hold half of the sum of sizes",
            )
            for layer, (updates, half) in enumerate(zip(self.layers, self.half, strict=True))
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("model", "bos", "prompt", "neurons")}
        layers = [
            {"layer": layer, "half": half, "updates": [update._asdict() for update in updates]}
            for layer, (updates, half) in enumerate(zip(self.layers, self.half, strict=True))
        ]
        return {"schema": "loci.sub_updates/1", **plain, "layers": layers}


@torch.no_grad()
def sub_updates(model: Model, prompt: str, *, top: int = 5, words: int = 5) -> SubUpdates:
    """The largest sub-updates of each layer at a prompt's last token.

        loci.sub_updates(model, "Michael Jordan plays the sport of")

    Args:
        model: an open model; it is left as it was.
        prompt: a text.
        top: sub-updates listed of each layer.
        words: tokens listed that each promotes.

    Returns: `SubUpdates`.
    Raises: `ModelError` for an empty prompt and for mixtures of experts.
    Cost: One run.
    Source: Geva et al. 2022.
    """
    if top < 1 or words < 1:
        raise ModelError(f"at least one sub-update and one word are shown, not {top} and {words}")
    model.place("mlp_act.0")
    reads = model.read(model.ids([model.tokenize(prompt).ids]), *model.names("mlp_act"))
    layers, half = [], []
    for layer in range(model.n_layers):
        act = reads[f"mlp_act.{layer}"][0, -1].float()
        sizes = update_sizes(model, layer, act)
        shares = sizes / sizes.sum().clamp(min=1e-30)
        best = sizes.topk(min(top, len(sizes))).indices
        promoted = (
            project(model, act[best, None] * written(model, layer)[best])
            .topk(min(words, model.d_vocab))
            .indices.tolist()
        )
        layers.append(
            tuple(
                SubUpdate(
                    f"L{layer}N{i}",
                    float(act[i]),
                    float(sizes[i]),
                    float(shares[i]),
                    tuple(map(model.token_text, tokens)),
                )
                for i, tokens in zip(best.tolist(), promoted, strict=True)
            )
        )
        half.append(1 + int((shares.sort(descending=True).values.cumsum(0) < 0.5).sum()))
    return SubUpdates(model.name, model.with_bos, prompt, tuple(layers), tuple(half), model.d_mlp)
