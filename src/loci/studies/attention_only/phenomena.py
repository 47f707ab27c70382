"""Phenomena of small models, each from nothing: train the models that it takes, then measure.

bigrams     a model of no layers is its text's table of bigrams
skips       one layer has skip-trigrams, one head their bug, and four heads part the work
induction   two layers compose into induction
phase       in-context learning and prefix matching change together, in two layers only
sizes       the same stream in heads of 1, 2, 4, 16 and 64 dimensions
bases       do coordinates stand out, under Adam or under plain SGD?
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loci.errors import CircuitError
from loci.progress import Progress, silent
from loci.studies.attention_only.bigram_table import bigrams
from loci.studies.attention_only.induction_heads import corners
from loci.studies.attention_only.recipe import Recipe
from loci.studies.attention_only.skip_trigrams import bug
from loci.studies.attention_only.training import RECORD, SmallModel, load, train
from loci.studies.attention_only.training_series import OptimizerBases, TrainingHistory, sizes

WIDTH = 64
SIZES = (1, 2, 4, 16, 64)


@dataclass(frozen=True)
class Phenomenon:
    """The recipes of the models, and what is made of them."""

    recipes: tuple[Recipe, ...]
    look: Callable[[tuple[SmallModel, ...]], Any]


PHENOMENA = {
    "bigrams": Phenomenon((Recipe(layers=0),), lambda models: bigrams(*models)),
    "skips": Phenomenon((Recipe(layers=1, heads=1, d_head=WIDTH), Recipe(layers=1)), bug),
    "induction": Phenomenon((Recipe(),), lambda models: corners(*models)),
    "phase": Phenomenon((Recipe(layers=1), Recipe()), TrainingHistory),
    "sizes": Phenomenon(tuple(Recipe(heads=WIDTH // size, d_head=size) for size in SIZES), sizes),
    "bases": Phenomenon((Recipe(), Recipe(optimizer="sgd")), OptimizerBases),
}


def phenomenon(
    name: str,
    folder: str | Path | None = None,
    *,
    steps: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Any:
    """Train the models that one phenomenon needs, and measure it.

    Args:
        name: a key of `PHENOMENA`.
        folder: keeps the models, and gives them back when asked again; None: they are not kept.
        steps: training steps; None: the phenomenon's own.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `BigramTable`, `SkipTrigramBug`, `TwoLayerInduction`, `TrainingHistory`, `HeadSizes` or
        `OptimizerBases`.
    Raises: `CircuitError` for an unknown name.
    Cost: One training a model.
    """
    if name not in PHENOMENA:
        raise CircuitError(f"there is no phenomenon {name!r}: expected {', '.join(PHENOMENA)}")
    shown = PHENOMENA[name]
    recipes = [replace(recipe, seed=seed, steps=steps or recipe.steps) for recipe in shown.recipes]
    with (
        TemporaryDirectory(prefix="loci-") if folder is None else nullcontext(str(folder))
    ) as place:
        models = grown(recipes, Path(place), progress)
        for small in models if folder is None else ():
            small.model.name = small.recipe.name  # its folder is gone when the result is read
        return shown.look(tuple(models))


def grown(recipes: Sequence[Recipe], folder: Path, progress: Progress = silent) -> list[SmallModel]:
    """Models by their recipes, one after another: loaded where they are, trained where they are
    not."""
    total = sum(recipe.steps for recipe in recipes)
    models = []
    for recipe in recipes:
        place = folder / recipe.name
        if (place / RECORD).exists():
            models.append(_checked(load(place), recipe))
            progress(recipe.steps, total)
        else:
            models.append(train(recipe, place, progress=lambda done, _: progress(done, total)))
    return models


def _checked(small: SmallModel, recipe: Recipe) -> SmallModel:
    """Raise `CircuitError` for a model that is in the place of another."""
    if small.recipe != recipe or not small.finished or not small.made:
        raise CircuitError(
            f"{small.model.name}: not the model that is wanted there, or not finished: name "
            "another folder, or delete it"
        )
    return small
