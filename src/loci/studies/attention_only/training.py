"""Train a small model: next-token loss on windows of text, measured along the way, saved in
Hugging Face form.

    folder/  config.json  model.safetensors  tokenizer.json  tokenizer_config.json  training.json

training.json holds the recipe and what was measured at each checkpoint. Adam: β = 0.9, 0.98, no
decay. SGD: no momentum. Both with the gradient's norm at 1 at most. Checkpoints come close together
first and every `EVERY`-th of the training later.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from loci.circuits.repeated import RepeatedTokens, repeat, repeated_tokens
from loci.errors import CircuitError
from loci.files import check_writable, write_aside
from loci.model import Model, open_model
from loci.patches import save_model
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.studies.attention_only.grammar import Grammar
from loci.studies.attention_only.init_model import hold_still, untrained_gpt2
from loci.studies.attention_only.measures import TrainingCheckpoint, measured
from loci.studies.attention_only.recipe import Recipe
from loci.studies.attention_only.synthetic_text import made_text
from loci.studies.attention_only.training_text import FileText, SyntheticText, TrainingText
from loci.tables import Table, columns
from loci.validate import one_line, read_json

RECORD = "training.json"
SCHEMA = "loci.small/1"
EVERY = 25
PAGE = 16
"""Steps for which text is drawn at once."""


@dataclass(frozen=True)
class SmallModel(Result):
    """A trained model with its history."""

    about: ClassVar[About] = About(
        "a small model",
        "An attention-only model, trained from nothing.",
        "Loss, in-context learning and heads over training.",
        "small.small_figure",
    )

    model: Model
    recipe: Recipe
    text: str
    """"made", or the file it learnt from."""
    checkpoints: tuple[TrainingCheckpoint, ...]
    seconds: float
    finished: bool = True
    """False where training was stopped before its last step."""

    @property
    def last(self) -> TrainingCheckpoint:
        return self.checkpoints[-1]

    @property
    def made(self) -> bool:
        """Whether it learnt from made text, whose statistics are known."""
        return self.text == "made"

    def summary(self) -> tuple[str, ...]:
        return (
            f"Loss {self.last.loss.value:.3f} after {self.last.step:,} steps; late − early"
            f" {self.last.in_context}.",
        )

    def title(self) -> str:
        own = self.recipe
        return (
            f"{self.model.name}: {own.layers} layers of {own.heads} heads of {own.d_head},"
            f" {own.optimizer}, text: {self.text}; {self.last.step:,} steps in {self.seconds:.0f} s"
        )

    def tables(self) -> tuple[Table, ...]:
        step = max(1, len(self.checkpoints) // 8)
        rows = tuple(
            (
                f"{own.step:,}",
                own.loss.value,
                own.in_context,
                own.best_induction if self.recipe.layers else None,
                own.best_previous if self.recipe.layers else None,
                own.kurtosis.value,
                own.rotated.value,
            )
            for own in (*self.checkpoints[:-1:step], self.last)
        )
        heads = ("loss|.3f", "late − early", "prefix|.2f", "previous|.2f")
        return (Table("Training", columns("step", *heads, "kurtosis|+.2f", "rotated|+.2f"), rows),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "model": self.model.name,
            "recipe": asdict(self.recipe),
            "parameters": sum(p.numel() for p in self.model.hf.parameters() if p.requires_grad),
            "text": self.text,
            "seconds": round(self.seconds, 1),
            "finished": self.finished,
            "checkpoints": [checkpoint.to_dict() for checkpoint in self.checkpoints],
        }


def text_for(recipe: Recipe, path: str | Path | None = None) -> TrainingText:
    """Made text, or that of a file."""
    return (
        SyntheticText.of(made_text(), recipe.context, recipe.seed)
        if path is None
        else FileText.of(path, recipe.context)
    )


def known_grammar(small: SmallModel) -> Grammar:
    """The grammar that a model learnt.

    Raises `CircuitError` for one that learnt from a user's text.
    """
    if not small.made:
        raise CircuitError(
            f"{small.model.name!r} learnt from {small.text}, whose statistics are not known: train "
            "one without --text"
        )
    return made_text()


def text_of(small: SmallModel) -> TrainingText:
    """The text that a model learnt from."""
    return text_for(small.recipe, None if small.made else small.text)


def train(
    recipe: Recipe, folder: str | Path, path: str | Path | None = None, progress: Progress = silent
) -> SmallModel:
    """Train a small model and save it.

    Stopped by Ctrl-C, the model as learnt by then is saved, marked as unfinished, and the
    interruption goes on. Deterministic on one machine and number of threads.

    Args:
        recipe: sizes, optimizer and steps.
        folder: must be empty or new.
        path: a text to learn from; None: the synthetic text.
        progress: called with (steps done, steps in all).

    Returns: `SmallModel`.
    Raises: `CircuitError` for a text that is too short, `OutputError` where the folder cannot be
        written or is not empty.
    """
    check_writable(folder, folder=True)
    learning = TrainingRun(recipe, text_for(recipe, path), str(folder))
    try:
        for _ in learning.steps():
            progress(1, recipe.steps)
    except KeyboardInterrupt:
        save(learning.result(), folder)
        raise
    return save(learning.result(), folder)


class TrainingRun:
    """A model on its way."""

    def __init__(self, recipe: Recipe, text: TrainingText, name: str) -> None:
        self.recipe, self.text, self.started = recipe, text, time.monotonic()
        sizes = (len(text.tokenizer), recipe.context, recipe.layers, recipe.heads, recipe.d_head)
        self.model = Model(
            untrained_gpt2(*sizes, mlp=recipe.mlp, seed=recipe.seed), text.tokenizer, name
        )
        self.trained = [p for p in self.model.hf.parameters() if p.requires_grad]
        self.repeated = repeated_for(self.model, text, recipe.seed)
        self.optimizer: torch.optim.Optimizer
        if recipe.optimizer == "adam":
            self.optimizer = torch.optim.Adam(self.trained, betas=(0.9, 0.98))
        else:
            self.optimizer = torch.optim.SGD(self.trained, lr=1.0)
        self.step = 0
        self.checkpoints: list[TrainingCheckpoint] = []

    def steps(self) -> Iterator[None]:
        """One step at a time, to the last."""
        measured_steps = set(checkpoints(self.recipe.steps))
        for ids in self._batches():
            if self.step in measured_steps:
                self._measure()
            self._learn(ids)
            self.step += 1
            yield
        self._measure()

    def _batches(self) -> Iterator[Tensor]:
        generator, batch = torch.Generator().manual_seed(self.recipe.seed), self.recipe.batch
        for start in range(0, self.recipe.steps, PAGE):
            yield from self.text.page(
                min(PAGE, self.recipe.steps - start) * batch, generator
            ).split(batch)

    @torch.enable_grad()
    def _learn(self, ids: Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.step)
        logits = self.model(ids[:, :-1])
        loss = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()

    def _measure(self) -> None:
        tokens = self.step * self.recipe.batch * (self.recipe.context - 1)
        self.checkpoints.append(
            measured(self.model, self.step, tokens, self.text.held_out, self.repeated)
        )

    def result(self) -> SmallModel:
        """The model as it is now, measured."""
        if not self.checkpoints or self.checkpoints[-1].step != self.step:
            self._measure()
        seconds, finished = time.monotonic() - self.started, self.step == self.recipe.steps
        return SmallModel(
            self.model, self.recipe, self.text.source, tuple(self.checkpoints), seconds, finished
        )


def checkpoints(steps: int) -> list[int]:
    """Steps before which a model is measured: 0, 1, 2, 4, 8 …, and every 25th of the way."""
    doubling = [0, *(2**i for i in range(steps.bit_length()) if 2**i < steps // EVERY)]
    return sorted({*doubling, *range(0, steps, max(1, steps // EVERY))})


def repeated_for(model: Model, text: TrainingText, seed: int) -> RepeatedTokens:
    """Random tokens four times: of made text the words of names, as the others never come in
    that order; of a file's, any."""
    drawn = repeated_tokens(model, seed=seed)
    if not isinstance(text, SyntheticText):
        return drawn
    first, names = text.grammar.d_vocab - text.grammar.names, text.grammar.names
    generator = torch.Generator().manual_seed(seed)
    blocks = [
        (first + torch.randperm(names, generator=generator)[: drawn.length]).tolist()
        for _ in drawn.ids
    ]
    return repeat(model, blocks, drawn.repeats)


def save(small: SmallModel, folder: str | Path) -> SmallModel:
    """Write the folder in Hugging Face form, whole or not at all."""
    with write_aside(folder, folder=True) as aside:
        save_model(small.model, aside)
        (aside / RECORD).write_text(json.dumps(small.to_dict(), indent=1) + "\n", encoding="utf-8")
    return small


def load(folder: str | Path) -> SmallModel:
    """Read what `train` saved.

    Args:
        folder: its folder.

    Returns: `SmallModel`.
    Raises: `CircuitError` for a folder without its record, `ModelError` as opening does.
    """
    model = open_model(folder)
    try:
        record = read_json(Path(folder) / RECORD, CircuitError)
        history = tuple(TrainingCheckpoint.from_dict(row) for row in record["checkpoints"])
        small = SmallModel(
            model,
            Recipe(**record["recipe"]),
            record["text"],
            history,
            record["seconds"],
            record["finished"],
        )
    except (CircuitError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CircuitError(
            f"{folder}: no readable {RECORD} in it ({one_line(str(error))}): expected a folder "
            "that `loci circuits train` wrote"
        ) from None
    hold_still(model.hf, small.recipe.layers, small.recipe.mlp)
    return small
