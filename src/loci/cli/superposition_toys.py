"""loci superposition toy and its kin: networks that have more features than dimensions."""

from pathlib import Path
from typing import Annotated, Any

import typer

from loci.cli.common import bar, check_out, finish
from loci.cli.options import JSON, OUT, SEED, STEPS, number, share, whole

DENSITY = Annotated[
    list[float] | None, share("probability that a feature is there; may be said again", "--density")
]


DIM = Annotated[int, whole("dimensions", "--dim", "-d")]


def toy(
    features: Annotated[int, whole("features", "--features", "-n")] = 20,
    dim: DIM = 5,
    density: DENSITY = None,
    importance: Annotated[float, number("feature i has this to the power i", high=1e3)] = 0.7,
    linear: Annotated[bool, typer.Option("--linear", help="no ReLU at the output")] = False,
    runs: Annotated[
        int, whole("models of each density, of which the best is kept", high=10_000)
    ] = 1,
    steps: STEPS = 5000,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Toy models: which features are kept, and do they share dimensions, as features get sparser.
    Two dimensions show as arrows.

    Examples:

        loci superposition toy --out toy.html

        loci superposition toy -n 5 -d 2 --importance 1 --density 1 --density 0.05 --runs 8

        loci superposition toy --linear
    """
    from loci.studies.superposition import toy as train

    _train(
        "training",
        train,
        out,
        json,
        features,
        dim,
        *_given(density),
        importance=importance,
        relu=not linear,
        runs=runs,
        steps=steps,
        seed=seed,
    )


def geometry(
    features: Annotated[int, whole("features, all equal", "--features", "-n")] = 100,
    dim: DIM = 10,
    density: DENSITY = None,
    steps: STEPS = 4000,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Dimensions per feature, and the plateaus of single features (1/2, 2/3, 3/4, 2/5, 3/8), as
    features get sparser.

    Example:

        loci superposition geometry --out geometry.html
    """
    from loci.studies.superposition import geometry as train

    _train("training", train, out, json, features, dim, *_given(density), steps=steps, seed=seed)


def phase(
    size: Annotated[int, whole("cells a side", low=2, high=1_000)] = 21,
    runs: Annotated[int, whole("models in each cell, of which the best counts", high=10_000)] = 8,
    steps: STEPS = 600,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """The phase diagram of two features in one dimension: trained models against the closed form,
    4/7 at equal importance.

    Example:

        loci superposition phase --out phase.html
    """
    from loci.studies.superposition import phase as train

    _train("training", train, out, json, size=size, runs=runs, steps=steps, seed=seed)


def correlated(
    pairs: Annotated[int, whole("pairs of features")] = 2,
    dim: DIM = 2,
    density: Annotated[float, share("probability that a feature is there")] = 0.1,
    runs: Annotated[int, whole("models of each kind", high=10_000)] = 16,
    steps: STEPS = 3000,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Features that come together, or never together: do they get orthogonal, or opposite
    directions?

    Example:

        loci superposition correlated --out correlated.html
    """
    from loci.studies.superposition import correlated as train

    _train("training", train, out, json, pairs, dim, density, runs=runs, steps=steps, seed=seed)


def computation(
    features: Annotated[int, whole("features", "--features", "-n")] = 24,
    neurons: Annotated[int, whole("neurons; exactly it takes two a feature")] = 12,
    density: DENSITY = None,
    steps: STEPS = 5000,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Absolute values by fewer neurons than it takes exactly: how many are computed, and do neurons
    read one feature or many?

    Example:

        loci superposition computation --out computation.html
    """
    from loci.studies.superposition import computation as train

    _train(
        "training", train, out, json, features, neurons, *_given(density), steps=steps, seed=seed
    )


def attack(
    features: Annotated[int, whole("features, all equal", "--features", "-n")] = 50,
    dim: DIM = 10,
    density: DENSITY = None,
    steps: STEPS = 4000,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Does sharing dimensions make a toy model easy to attack?

    Example:

        loci superposition attack --out attack.html
    """
    from loci.studies.superposition import attack as train

    _train("training", train, out, json, features, dim, *_given(density), steps=steps, seed=seed)


def _train(text: str, job: Any, out: Path | None, json: bool, *given: Any, **options: Any) -> None:
    check_out(out)
    with bar(text) as progress:
        result = job(*given, **options, progress=progress)
    finish(result, out, json)


def _given(values: list[Any] | None) -> tuple[Any, ...]:
    """The given values as one argument; without any, no argument, so that the library's default
    holds.
    """
    return (tuple(values),) if values else ()
