"""Train several dictionaries on one stream of activations.

    [one] = loci.dictionaries.train(model, [DictionarySettings("mlp_out.3")])
    one.fvu, one.l0, one.dead, one.ce_recovered
    save_dictionary(one.dictionary, "mlp_out.3.safetensors")

The model runs once over the text (once for each pool, where the text does not fit the memory); each
batch of its tokens feeds every dictionary. With a checkpoint, a run that was stopped goes on to the
same result. Cost of one dictionary: see `sparse_codes`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch

from loci.dictionaries.activations import read_rows, width_of
from loci.dictionaries.checkpoints import DictionaryCheckpoint
from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.learners import Learner, Scales
from loci.dictionaries.measures import Fit, fit, share_on
from loci.dictionaries.settings import DictionarySettings
from loci.dictionaries.splicing import Recovered, recovered
from loci.dictionaries.streams import POOL, ActivationStream
from loci.errors import DictionaryError
from loci.model import Model
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.tables import Table, columns
from loci.text import background

STEPS, BATCH = 1000, 2048
SEEN = 2**17
"""Tokens of the stream over which dead features are counted: a rare feature is on at one of ten
thousand or fewer.
"""
EVERY = 200
"""Steps between two checkpoints."""


class TrainingProgress(NamedTuple):
    """How far a run is: of the last batch, for each dictionary."""

    step: int
    steps: int
    fvu: tuple[float, ...]
    l0: tuple[float, ...]
    dead: tuple[int, ...]


Report = Callable[[TrainingProgress], None]


@dataclass(frozen=True)
class TrainedDictionary(Result):
    """A dictionary, and how well it does on held-out text."""

    about: ClassVar[About] = About(
        "a trained dictionary",
        "How well does it reconstruct, with how few features?",
        "FVU and L0 are of text that was held out.",
    )

    dictionary: Dictionary
    settings: DictionarySettings
    fit: Fit
    recovered: Recovered
    steps: int
    alive: float
    """Share of features that are on at one of `alive_tokens` tokens at least."""
    alive_tokens: int
    tokens: int
    """Tokens of all batches; texts come again where they are fewer."""
    text_tokens: int
    seconds: float

    @property
    def fvu(self) -> float:
        return self.fit.fvu

    @property
    def l0(self) -> float:
        return self.fit.l0

    @property
    def dead(self) -> float:
        """Share of features that are on at none of `alive_tokens` tokens."""
        return 1 - self.alive

    @property
    def ce_recovered(self) -> float:
        """With zero ablation."""
        return self.recovered.ce_recovered["zero"]

    def tables(self) -> tuple[Table, ...]:
        return (_trained_table((self,)),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.dictionary_training/1",
            "model": self.dictionary.model,
            "point": self.settings.point,
            "target": self.settings.target,
            "features": self.dictionary.features,
            "k": self.settings.k,
            "activation": self.settings.activation,
            "fvu": self.fvu,
            "l0": self.l0,
            "dead": self.dead,
            "dead_tokens": self.alive_tokens,
            "measured_tokens": self.fit.tokens,
            "ce_recovered": self.ce_recovered,
            "ablation": "zero",
            "recovered": self.recovered.to_dict(),
            "steps": self.steps,
            "tokens": self.tokens,
            "text_tokens": self.text_tokens,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class TrainedDictionaries(Result):
    """Dictionaries that were trained on one stream."""

    about: ClassVar[About] = About(
        "trained dictionaries",
        "How well do they reconstruct, with how few features?",
        "FVU and L0 are of text that was held out.",
    )

    trained: tuple[TrainedDictionary, ...]

    def title(self) -> str:
        first = self.trained[0]
        return (
            f"Dictionaries of {first.dictionary.model}, {first.steps:,} steps, {first.tokens:,}"
            " tokens"
        )

    def tables(self) -> tuple[Table, ...]:
        return (_trained_table(self.trained),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.dictionary_trainings/1",
            "trained": [each.to_dict() for each in self.trained],
        }


def train(
    model: Model,
    settings: Sequence[DictionarySettings],
    texts: Sequence[str] | None = None,
    *,
    steps: int = STEPS,
    batch: int = BATCH,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    pool_bytes: int = POOL,
    report: Report | None = None,
    progress: Progress = silent,
) -> list[TrainedDictionary]:
    """Train one dictionary for each of the settings.

    Args:
        texts: what the model runs on; by default the embedded text. One of fifty is held out, and
            measured on.
        steps, batch: steps of Adam, and tokens of each.
        checkpoint: a file that is written every 200 steps; where it is there, the run goes on from
            it.
        report: called after each step.
        progress: of the model's pass over the text.

    Raises `DictionaryError` for settings that do not fit the model, for too little text, and for
    the checkpoint of another run.
    """
    started = time.monotonic()
    if not settings:
        raise DictionaryError(
            "there is nothing to train: give the settings of one dictionary at least"
        )
    points = [name for each in settings for name in (each.point, each.target) if name]
    for each in settings:
        each.check(_width(model, each))
    stream = ActivationStream(
        model,
        background(model).texts if texts is None else texts,
        points,
        batch=batch,
        seed=seed,
        pool_bytes=pool_bytes,
        progress=progress,
    )
    learners = [_learner(model, each, stream, steps) for each in settings]
    saved = DictionaryCheckpoint(checkpoint, model, settings, stream, steps)
    first = saved.restore(learners)
    for step, rows in zip(range(first, steps), stream.batches(first), strict=False):
        for learner in learners:
            learner.step(
                rows[learner.settings.point],
                rows[learner.settings.target or learner.settings.point],
            )
        if report is not None:
            report(_progress(learners, step + 1, steps))
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            saved.write(learners)
    return [_measured(model, learner, stream, steps, started) for learner in learners]


def _width(model: Model, settings: DictionarySettings) -> int:
    if settings.target is not None:
        width_of(model, settings.target)
    return width_of(model, settings.point)


def _progress(learners: Sequence[Learner], step: int, steps: int) -> TrainingProgress:
    dead = tuple(int(learner.dead.sum()) for learner in learners)
    return TrainingProgress(
        step, steps, tuple(x.fvu for x in learners), tuple(x.l0 for x in learners), dead
    )


def _learner(
    model: Model, settings: DictionarySettings, stream: ActivationStream, steps: int
) -> Learner:
    rows = stream.sample().values
    scales = Scales.of(rows[settings.point], rows[settings.target or settings.point])
    return Learner(settings, scales, steps, _from_mlp(model, settings))


def _from_mlp(model: Model, settings: DictionarySettings) -> Dictionary | None:
    """The MLP's own keys and values: where a transcoder of it begins."""
    stem, _, layer = settings.point.partition(".")
    explains = (settings.target or "").partition(".")[0] in (
        "mlp_out",
        "mlp_raw",
    ) and stem == "mlp_in"
    if not explains or (settings.target or "").partition(".")[2] != layer or model.n_experts:
        return None
    keys, values = (
        w.detach().float().cpu() for w in (model.W_key(int(layer)), model.W_down(int(layer)).T)
    )
    return Dictionary(keys, torch.zeros(len(keys)), values, torch.zeros(values.shape[1]))


def _measured(
    model: Model, learner: Learner, stream: ActivationStream, steps: int, started: float
) -> TrainedDictionary:
    settings = learner.settings
    about = {"model": model.name, "fingerprint": model.fingerprint}
    dictionary = learner.dictionary(
        **about, notes={"trained": asdict(settings), "text_tokens": stream.tokens}
    )
    target = settings.target or settings.point
    rows = read_rows(model, stream.held_out, [settings.point, target])
    scores = fit(dictionary, rows.values[settings.point], rows.values[target])
    lost = recovered(model, [dictionary], stream.held_out, {target: rows.values[target].mean(0)})
    seen = stream.recent().values[settings.point][:SEEN]
    seconds = time.monotonic() - started
    dictionary = replace(dictionary, notes={**dictionary.notes, "l0": scores.l0, "fvu": scores.fvu})
    return TrainedDictionary(
        dictionary,
        settings,
        scores,
        lost,
        steps,
        share_on(dictionary, seen),
        len(seen),
        steps * stream.batch,
        stream.tokens,
        seconds,
    )


def _trained_table(trained: Sequence[TrainedDictionary]) -> Table:
    """Each dictionary's measures on held-out tokens."""
    rows = []
    for own in trained:
        s, shares = own.settings, own.recovered.ce_recovered
        name = s.point if s.target is None else f"{s.point} → {s.target}"
        kind = (own.dictionary.features, s.activation)
        measured = (own.fvu, own.l0, own.dead, shares["zero"], shares["mean"], own.fit.ratio)
        rows.append((name, *kind, *measured))
    heads = ("point", "features", "kind", "FVU|.3f", "L0|.1f", "dead|.1%")
    first = trained[0]
    return Table(
        "Trained",
        columns(*heads, "CE recovered|.1%", "by mean ablation|.1%", "‖ŷ‖/‖y‖|.3f"),
        tuple(rows),
        note=f"on {first.fit.tokens:,} held-out tokens; CE recovered with zero ablation, then with"
        f" mean ablation; {first.seconds:.0f} s in all",
    )
