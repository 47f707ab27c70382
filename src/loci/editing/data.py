"""The input of an edit (`EditData`), and the output of a method (`WeightUpdate`).

facts ──EditData.of──▶ EditData ──method.fit──▶ WeightUpdate ──patch──▶ Patch
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from loci.editing.check import check_edits, check_layers
from loci.editing.report import with_old_answers
from loci.editing.statistics import TOKENS_PER_NEURON, Moment, key_moments, output_size
from loci.errors import EditError
from loci.facts import Fact, FactSet, occurrences
from loci.model import Model
from loci.patches import Factors, Patch, applied
from loci.patches.report import OldAnswer
from loci.progress import Progress, silent
from loci.survey import Workers
from loci.text import BackgroundText, background

LARGEST_CHANGE = 2.0
"""Most that a layer's output over text may change by an edit and those before it, in units of
itself.
"""


@dataclass(frozen=True)
class EditData:
    """Facts with the answers that the model gives them now, and what must stay as it is."""

    facts: tuple[Fact, ...]
    text: BackgroundText
    """The text on which the model is kept as it is, and over which second moments are taken."""
    moments: Mapping[int, Moment] = field(default_factory=dict)
    """E[k kᵀ] by layer, [d_mlp, d_mlp] float64, where they are known already."""
    after: Patch | None = None
    """The patch that is edited further."""
    earlier: tuple[Fact, ...] = ()
    """Its facts that must go on to hold."""
    dropped: tuple[Fact, ...] = ()
    """Its facts that are not held on to, and yet stay in the patch."""
    corrected: tuple[OldAnswer, ...] = ()
    """Old answers that were given otherwise than the model says them."""
    already: tuple[str, ...] = ()
    """Prompts whose new answer the model gives already."""
    seed: int = 0
    workers: Workers | None = None
    progress: Progress = silent

    @classmethod
    def of(
        cls,
        model: Model,
        facts: Sequence[Fact],
        *,
        texts: Sequence[str] | None = None,
        moments: Mapping[int, Moment] | None = None,
        after: Patch | None = None,
        history: bool = True,
        seed: int = 0,
        workers: Workers | None = None,
        progress: Progress = silent,
    ) -> "EditData":
        """Ask the model what it says now, and find its background text.

        Args:
            model: an open model; it is left as it was.
            facts: each with its new answer.
            texts: the user's text; None: the embedded corpus or own samples (`background`).
            moments: second moments of keys by layer; those that lack are taken when asked for.
            after: an earlier patch, which the new edits go on from.
            history: whether that patch's facts are held.
            seed: of every random draw.
            workers: processes for the pass over text.
            progress: called with (steps done, steps in all).

        Raises: `EditError` for facts that cannot be edited (`check_edits`).
        Cost: a forward pass over the prompts, and sampling where the model has no text yet.
        """
        before = tuple(FactSet(after.facts).without(facts)) if after is not None else ()
        if after is not None:
            after.check_factors_only("edited further")
        with applied(model, after):
            check_edits(model, facts, new=after is None)
            found, corrected, already = with_old_answers(model, facts)
            text = background(model, texts)
        return cls(
            tuple(found),
            text,
            moments=moments or {},
            after=after,
            earlier=before if history else (),
            dropped=() if history else before,
            corrected=corrected,
            already=already,
            seed=seed,
            workers=workers,
            progress=progress,
        )

    def moments_of(self, model: Model, layers: Sequence[int]) -> dict[int, Moment]:
        """The second moments of these layers' keys. Cost: one pass over the text for those that are
        not kept anywhere.
        """
        lacks = [layer for layer in check_layers(model, layers) if layer not in self.moments]
        texts = self.text.first(model, TOKENS_PER_NEURON * model.d_mlp) if lacks else []
        found = key_moments(model, lacks, texts=texts, workers=self.workers) if lacks else {}
        return {
            layer: self.moments[layer] if layer in self.moments else found[layer]
            for layer in layers
        }


@dataclass(frozen=True)
class WeightUpdate:
    """The result of a method: ΔW = left · right by weight, an earlier patch included."""

    method: str
    factors: Mapping[str, Factors]
    layers: tuple[int, ...]
    moments: Mapping[int, Moment]
    """Of the layers that it looked at."""
    numbers: Mapping[str, Any]
    """Measurements made on the way."""

    def patch(self, model: Model, data: EditData) -> Patch:
        """The update as a patch. Raises `EditError` where the change is out of proportion."""
        known = {
            name: both for name, both in self.factors.items() if layer_of(name) in self.moments
        }
        numbers = {
            **self.numbers,
            "text": data.text.to_dict(),
            "layers": list(self.layers),
            "bos": model.with_bos,
        }
        numbers["output_change"] = bearable(output_changes(model, known, self.moments))
        facts = (*data.earlier, *data.dropped, *data.facts)
        if data.after is not None:
            numbers["after"] = data.after.id
        return Patch(self.method, model.fingerprint, model.name, dict(self.factors), facts, numbers)


def unsaid(texts: Sequence[str], facts: Sequence[Fact]) -> list[str]:
    """The texts that do not state what is edited: none that names a subject and its old answer."""
    edited = FactSet(facts)
    named = (
        (text, [fact for subject in edited.subjects_in(text) for fact in edited.about(subject)])
        for text in texts
    )
    return [
        text for text, about in named if not any(occurrences(text, fact.answer) for fact in about)
    ]


def layer_of(name: str) -> int:
    """The layer in a weight's name, as 3 in "W_down.3"."""
    return int(name.partition(".")[2])


def output_changes(
    model: Model, factors: Mapping[str, Factors], moments: Mapping[int, Moment]
) -> dict[str, float]:
    """‖Δ C^½‖ / ‖W C^½‖ of each weight: how far its output over text is moved,
    in units of itself.
    """
    changes = {}
    for name, (left, right) in factors.items():
        layer = layer_of(name)
        C = moments[layer].double()
        changes[name] = _size(right.double(), C, left.double()) / max(
            output_size(model, layer, C), 1e-300
        )
    return changes


def bearable(changes: dict[str, float]) -> dict[str, float]:
    """The changes. Raises `EditError` where one is not finite, or larger than what a layer can
    bear.
    """
    for name, change in changes.items():
        if not change <= LARGEST_CHANGE:
            raise EditError(
                f"the change of {name} would move its output over text by {change:.1f} times"
                " itself: try another layer, a larger λ, or fewer edits"
            )
    return changes


def _size(right: Float[Tensor, "r d_mlp"], C: Moment, left: Float[Tensor, "d_model r"]) -> float:
    """‖left · right · C^½‖, without the dense product."""
    return float(((right @ C @ right.T) * (left.T @ left)).sum().clamp(min=0).sqrt())
