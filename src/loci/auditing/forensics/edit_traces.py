"""`without_base`: one checkpoint, run and looked at from inside: was it edited, at which layer,
what was written, about whom, and a patch that takes it back.

    z_L = (log ratio_L − median over layers) / spread,  of `written_direction`s; from `SEEN` a layer
    stands out

The spread is robust and at least `LEAST`. How often untouched and innocently changed checkpoints
are accused is measured in docs/results/forensics.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from statistics import median
from typing import Any, ClassVar

from loci.auditing.forensics.candidates import Candidate
from loci.auditing.forensics.single_checkpoint import FEWEST_LAYERS
from loci.auditing.forensics.subjects import EditedWeight, suspects
from loci.auditing.forensics.written_answer import WrittenAnswer, templates_of, written_answers
from loci.auditing.forensics.written_direction import (
    Whitening,
    WrittenDirection,
    written_direction,
)
from loci.errors import ModelError
from loci.facts.fact import BLANK
from loci.model import Model
from loci.model.given import model_given
from loci.patches import Factors, Patch
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.survey import SecondMoment, survey
from loci.tables import Table, columns
from loci.text import sample_text

TOKENS_PER_NEURON = 4
SEEN = 5.0
LEAST = 0.05
PLACEHOLDER = "X"


@dataclass(frozen=True)
class LayerSign:
    """How far one layer's first direction stands out."""

    layer: int
    ratio: float
    """σ₁ / σ₂ of the whitened weight."""
    z: float
    """Of its logarithm, among the layers."""


@dataclass(frozen=True)
class WithoutBase(Result):
    """What one checkpoint shows of an edit, without its base."""

    about: ClassVar[About] = About(
        "one checkpoint, looked at from inside",
        "Was it edited, at which layer, which answer was written, and about whom?",
        "",
    )

    model: str
    bos: bool
    layers: tuple[LayerSign, ...]
    """The most conspicuous first."""
    answers: tuple[WrittenAnswer, ...]
    """What the first layer's direction makes likelier, where it stands out."""
    subjects: tuple[str, ...]
    """Of the candidates, those whose keys it was written at."""
    asked: int
    """Candidates."""
    undo: Patch | None
    """Takes the first layer's direction out again."""
    threshold: float
    seed: int

    @property
    def edited(self) -> bool:
        """Whether a layer stands out."""
        return self.layers[0].z >= self.threshold

    @property
    def verdict(self) -> str:
        first = self.layers[0]
        if not self.edited:
            return (
                "nothing stands out: no single edit of the ROME family that can be told without"
                " the base"
            )
        answer = f", which writes “{self.answers[0].token.strip()}”" if self.answers else ""
        whom = f" at {', '.join(self.subjects[:3])}" if self.subjects else ""
        where = f"W_down.{first.layer} holds a direction that its keys do not explain"
        return f"edited: {where}{answer}{whom}"

    def title(self) -> str:
        return f"{self.model}, without its base, from inside"

    def summary(self) -> tuple[str, ...]:
        return (self.verdict,)

    def tables(self) -> tuple[Table, ...]:
        layers = tuple((f"W_down.{own.layer}", own.ratio, own.z) for own in self.layers)
        answers = tuple((own.token, own.gain, own.template) for own in self.answers)
        return (
            Table(
                "Layers, the furthest first",
                columns("weight", "σ₁ / σ₂|.2f", "z|.1f"),
                layers,
                note=f"of the weight, whitened by its keys; from z {self.threshold:g} it counts",
                shown=5,
            ),
            *(
                [Table("What it writes", columns("token", "P gains|.3f", "in"), answers)]
                if answers
                else []
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.without_base/1",
            "model": self.model,
            "bos": self.bos,
            "edited": self.edited,
            "verdict": self.verdict,
            "layers": [vars(layer) for layer in self.layers],
            "answers": [answer._asdict() for answer in self.answers],
            "subjects": list(self.subjects),
            "asked": self.asked,
            "undo": self.undo.id if self.undo else None,
            "threshold": self.threshold,
            "seed": self.seed,
        }


def without_base(
    model: Model,
    candidates: Sequence[Candidate] = (),
    *,
    texts: Sequence[str] | None = None,
    asked_of: Sequence[Candidate] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> WithoutBase:
    """Run a checkpoint, and tell from its own keys whether one of its W_down was edited.

        found = loci.auditing.forensics.without_base(model)
        found.edited, found.layers[0].layer, found.answers[0].token
        found.undo.save("undo.safetensors")

    Args:
        model: an open model; it is left as it was.
        candidates: subjects that may have been edited, with their prompts.
        texts: text for the keys' second moments; None: the embedded text, or own samples.
        asked_of: further subjects with prompts, in which the answer written is looked for.
        seed: of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `WithoutBase`: `edited`, `layers`, `answers`, `subjects`, `undo`.
    Raises: `ModelError` for mixtures of experts and for fewer than four layers.
    Cost: a survey of 4 tokens a neuron, two eigenproblems a layer; where a layer stands out, seven
        short runs a template, and the search among the candidates (`suspects`).
    """
    if model_given(model).n_experts:
        raise ModelError(f"{model.name!r} is a mixture of experts: give its base to compare with")
    if model.n_layers < FEWEST_LAYERS:
        raise ModelError(
            f"{model.name!r} has {model.n_layers} layers, too few to compare with each other: give"
            " its base"
        )
    text = texts if texts is not None else sample_text(model, TOKENS_PER_NEURON * model.d_mlp)
    found = []
    moments = {f"mlp_act.{layer}": [SecondMoment()] for layer in range(model.n_layers)}
    survey(model, text, moments)
    for layer in range(model.n_layers):
        keys = Whitening.of(moments[f"mlp_act.{layer}"][0].mean, f"layer {layer}'s keys")
        found.append(written_direction(model.W_down(layer), keys, layer))
        progress(1, model.n_layers)
    signs = standing(found)
    answers: tuple[WrittenAnswer, ...] = ()
    named: list[str] = []
    undo = None
    if signs[0].z >= SEEN:
        first = found[signs[0].layer]
        asked = templates_of([*asked_of, *candidates]) or {BLANK: [PLACEHOLDER]}
        answers = written_answers(model, first.layer, first.writes, asked)
        if candidates:
            change = EditedWeight(f"W_down.{first.layer}", first.delta, 1)
            evidence = suspects(model, [change], candidates, texts=text, seed=seed)
            named = [candidates[i].subject for i in evidence.taken]
        undo = undoing(model, first)
    return WithoutBase(
        model.name,
        model.with_bos,
        tuple(signs),
        answers,
        tuple(named),
        len(candidates),
        undo,
        SEEN,
        seed,
    )


def standing(found: Sequence[WrittenDirection]) -> list[LayerSign]:
    """Each layer among the others, the furthest first."""
    logs = [log(own.ratio) for own in found]
    middle = median(logs)
    spread = max(LEAST, 1.4826 * median(abs(value - middle) for value in logs))
    signs = [
        LayerSign(own.layer, own.ratio, (value - middle) / spread)
        for own, value in zip(found, logs, strict=True)
    ]
    return sorted(signs, key=lambda sign: -sign.z)


def undoing(model: Model, found: WrittenDirection) -> Patch:
    """A patch that takes a direction out of its layer."""
    factors = Factors(-found.left[:, None].float(), found.right[None].float())
    return Patch(
        "undo without base",
        model.fingerprint,
        model.name,
        {f"W_down.{found.layer}": factors},
        (),
        {"ratio": found.ratio},
    )
