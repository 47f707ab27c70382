"""Several small models side by side: over training, over head sizes, and under two optimizers.

    History   loss, in-context learning and prefix matching over steps: in two layers both change at
              once, in one layer neither does
    Sizes     one stream of d_model cut into d_model / d_head heads: parameters are the same, ranks
              of W_QK and W_OV are d_head
    Bases     excess kurtosis of the stream's coordinates, less that in a random rotation, over
              steps

Why a basis can be privileged here at all: gains are 1 and biases 0, so a norm singles out only the
mean direction, and with a Gaussian start plain gradient descent does the same in every rotation
that keeps it. Adam divides each coordinate's step by its own length, which belongs to the basis.
Sources: Olsson et al. 2022 (the phase change); Elhage et al. 2023 (Privileged Bases).
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from loci.circuits.induction_heads import by_block
from loci.errors import CircuitError
from loci.result import About, Result
from loci.stats import Estimate, mean
from loci.studies.attention_only.measures import TrainingCheckpoint
from loci.studies.attention_only.skip_trigrams import SkipTrigrams, skips
from loci.studies.attention_only.training import SmallModel, repeated_for, text_of
from loci.tables import Table, columns


@dataclass(frozen=True)
class TrainingHistory(Result):
    """How models learn."""

    about: ClassVar[About] = About(
        "a phase change",
        "Do in-context learning and prefix matching change together?",
        "The curves of two layers turn at the same steps; one layer's do not.",
        "small.history_figure",
    )

    models: tuple[SmallModel, ...]

    def summary(self) -> tuple[str, ...]:
        told = (
            f"{small.recipe.layers} layer{'s' * (small.recipe.layers != 1)}: late − early"
            f" {small.last.in_context}, prefix matching {small.last.best_induction:.2f}"
            for small in self.models
        )
        return ("At the end, " + "; ".join(told) + ".",)

    def tables(self) -> tuple[Table, ...]:
        return tuple(
            replace(table, title=small.title()) for small in self.models for table in small.tables()
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.small_history/1",
            "models": [small.to_dict() for small in self.models],
        }


@dataclass(frozen=True)
class HeadSizes(Result):
    """Models that differ in the size of their heads alone, smallest heads first."""

    about: ClassVar[About] = About(
        "head size",
        "The same stream cut into heads of 1, 2, 4, 16 and 64 dimensions.",
        "Each line or bar is one way of cutting.",
        "small_heads.sizes_figure",
    )

    models: tuple[SmallModel, ...]
    skips: tuple[SkipTrigrams, ...]
    saved: tuple[Estimate, ...]
    """Nats a token that saying random names again saves: what all heads make of it together,
    where no single one does."""

    def tables(self) -> tuple[Table, ...]:
        rows = []
        for small, nouns, saved in zip(self.models, self.skips, self.saved, strict=True):
            last, chances = small.last, list(nouns.chances.values())
            right, crossed = (
                sum(row[kind].value for row in chances) / len(chances)
                for kind in ("right", "crossed")
            )
            size = f"{small.recipe.heads} × {small.recipe.d_head}"
            scores = (last.best_induction, last.best_previous)
            rows.append(
                (size, last.loss.value, last.in_context, saved.value, *scores, right, crossed)
            )
        heads = ("heads", "loss|.3f", "late − early", "saved|.2f", "prefix|.2f", "previous|.2f")
        return (
            Table(
                "By head size",
                columns(*heads, "right|.0%", "crossed|.0%"),
                tuple(rows),
                note="saved: nats a token by saying random names again; prefix, previous: of the"
                " best single head",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        rows = [
            {
                "d_head": small.recipe.d_head,
                "heads": small.recipe.heads,
                "layers": small.recipe.layers,
                "loss": small.last.loss.to_dict(),
                "in_context": small.last.in_context.to_dict(),
                "induction": small.last.best_induction,
                "previous_token": small.last.best_previous,
                "saved": saved.to_dict(),
                "right": {p: row["right"].to_dict() for p, row in skips.chances.items()},
                "crossed": {p: row["crossed"].to_dict() for p, row in skips.chances.items()},
            }
            for small, skips, saved in zip(self.models, self.skips, self.saved, strict=True)
        ]
        return {"schema": "loci.small_sizes/1", "rows": rows}


@dataclass(frozen=True)
class OptimizerBases(Result):
    """Models that differ in their optimizer alone."""

    about: ClassVar[About] = About(
        "privileged bases",
        "Do coordinates stand out: Adam against plain SGD?",
        "Kurtosis over training, beside the same vectors in a random rotation.",
        "small_heads.bases_figure",
    )

    models: tuple[SmallModel, ...]

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (own.recipe.optimizer, own.last.loss.value, *privilege(own.last).values())
            for own in self.models
        )
        heads = ("loss|.3f", "kurtosis|+.3f", "in a random rotation|+.3f", "difference|+.3f")
        return (Table("By optimizer", columns("optimizer", *heads), rows),)

    def to_dict(self) -> dict[str, Any]:
        rows = [
            {
                "optimizer": small.recipe.optimizer,
                "rate": small.recipe.learning_rate,
                "checkpoints": [
                    {"step": c.step, "loss": c.loss.value, **privilege(c)}
                    for c in small.checkpoints
                ],
            }
            for small in self.models
        ]
        return {"schema": "loci.small_bases/1", "rows": rows}


def privilege(checkpoint: TrainingCheckpoint) -> dict[str, float]:
    """Kurtosis in the model's basis, in a random rotation, and the difference."""
    own, rotated = checkpoint.kurtosis.value, checkpoint.rotated.value
    return {"kurtosis": own, "rotated": rotated, "privilege": own - rotated}


def sizes(models: tuple[SmallModel, ...]) -> HeadSizes:
    """Compare models that differ in the size of their heads alone.

    Args:
        models: models that `train` or `load` gave.

    Returns: `HeadSizes`.
    Raises: `CircuitError` where they differ in more.
    """
    ordered = tuple(sorted(models, key=lambda small: small.recipe.d_head))
    if (
        len({(m.recipe.d_model, m.recipe.layers, m.recipe.steps, m.recipe.mlp) for m in ordered})
        > 1
    ):
        raise CircuitError(
            "models of several sizes or depths: those compared over their heads' size differ in "
            "nothing else"
        )
    return HeadSizes(
        ordered, tuple(skips(small) for small in ordered), tuple(saved(small) for small in ordered)
    )


def saved(small: SmallModel) -> Estimate:
    """Loss on random names less that on their first repetition, samples being the units."""
    first, again, *_ = by_block(
        small.model, repeated_for(small.model, text_of(small), small.recipe.seed)
    )[0]
    return mean((first - again).tolist())
