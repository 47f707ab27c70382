"""loci superposition: how many directions fit, how to build them, and what their sharing costs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from loci.cli.common import bar, check_out, finish, written
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, OUT, SEED, STEPS, Code, number, share, whole, words
from loci.cli.verbs import Verbs
from loci.errors import SuperpositionError

app = Verbs(
    help=(
        "How many directions fit into d dimensions, proved and shown, and what their sharing costs."
    ),
    no_args_is_help=True,
)
DIM = Annotated[int, whole("dimensions", "--dim", "-d")]
DENSITY = Annotated[
    list[float] | None, share("probability that a feature is there; may be said again", "--density")
]


@app.command("bounds")
def bounds(
    dim: DIM = 12288,
    angle: Annotated[
        list[float] | None, number("degrees; may be said again", "--angle", "-a", high=180.0)
    ] = None,
    count: Annotated[
        float | None,
        number("instead: how far apart can so many be", "--count", "-n", low=2.0, high=1e300),
    ] = None,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """How many directions are pairwise at least an angle apart: what exists, what is impossible,
    and which rules of thumb are false. Or, with --count: the largest angle known to be possible for
    so many, and the limit.

    Examples:

        loci superposition bounds --dim 12288 --angle 89

        loci superposition bounds --dim 12288 -a 89 -a 88 -a 87 -a 85 --out bounds.html

        loci superposition bounds --dim 100 --count 10000
    """
    from loci.studies.superposition import bounds as at
    from loci.studies.superposition import bounds_table, reach

    check_out(out)
    if count is not None:
        if angle:
            raise SuperpositionError(
                "say an --angle to ask how many, or a --count to ask how far apart, not both"
            )
        finish(reach(dim, count), out, json)
    elif angle and len(angle) == 1:
        finish(at(dim, angle[0]), out, json)
    else:
        finish(bounds_table(dim, angle or (89, 88, 87, 85)), out, json)


@app.command("pack")
def pack(
    dim: DIM = 256,
    angle: Annotated[
        float | None,
        number(
            "lines at least so many degrees apart; default: the widest code",
            "--angle",
            "-a",
            high=90.0,
        ),
    ] = None,
    kind: Annotated[Code | None, typer.Option(help="one family")] = None,
    count: Annotated[
        int | None,
        whole("instead of a code: push so many random directions apart", "--count", "-n", low=2),
    ] = None,
    one_sided: Annotated[
        bool, typer.Option("--one-sided", help="with --count: angles above 90° are welcome")
    ] = False,
    steps: STEPS = 300,
    vectors: Annotated[Path | None, typer.Option(help="write the vectors: .safetensors")] = None,
    index: Annotated[
        str | None,
        words("which vectors of a code to write: as in 0,7,75501567 or 0:1000", kind="NUMBERS"),
    ] = None,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Directions that one can hold: an explicit code, made by index and verified, or a numerical
    packing beside its bound.

    Examples:

        loci superposition pack --dim 256

        loci superposition pack --dim 12288 --angle 89 --index 0,75501567 --vectors two.safetensors

        loci superposition pack --dim 50 --count 1000 --out packing.html
    """
    from loci.studies.superposition import built, save_vectors
    from loci.studies.superposition import pack as push

    check_out(out)
    check_out_vectors(vectors)
    if count is not None:
        if kind or angle is not None:
            raise SuperpositionError(
                "a numerical packing (--count) has no --kind and no --angle: it shows the angle"
                " that it reaches"
            )
        with bar("pushing apart") as progress:
            packed = push(
                dim, count, lines=not one_sided, steps=steps, seed=seed, progress=progress
            )
        if vectors is not None:
            save_vectors(packed.vectors, vectors)
            written(vectors)
        finish(packed, out, json)
        return
    with bar("verifying") as progress:
        code = built(dim, angle, kind, seed=seed, progress=progress)
    if vectors is not None:
        save_vectors(code.codes.vectors(indices_from(index or "0:1000", code.codes.count)), vectors)
        written(vectors)
    finish(code, out, json)


@app.command("video")
def video(
    count: Annotated[int, whole("vectors", "--count", "-n", low=2)] = 10_000,
    dim: DIM = 100,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """The famous experiment (10,000 vectors in 100 dimensions) as it was shown, what its plot hid,
    and the honest one beside it.

    Examples:

        loci superposition video --count 2000 --out video.html

        loci superposition video
    """
    from loci.studies.superposition import video as experiment

    check_out(out)
    with bar("optimising") as progress:
        found = experiment(count, dim, seed=seed, progress=progress)
    finish(found, out, json)


@app.command("toy")
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


@app.command("geometry")
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


@app.command("phase")
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


@app.command("correlated")
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


@app.command("computation")
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


@app.command("attack")
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


@app.command("interference")
def interference(
    dim: DIM = 128,
    features: Annotated[
        int, whole("features, all of which may be there", "--features", "-m")
    ] = 512,
    active: Annotated[
        list[int] | None, whole("how many are there at once; may be said again", "--active", "-k")
    ] = None,
    trials: Annotated[int, whole("random sets of features for each number")] = 300,
    steps: STEPS = 500,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """k of m features at once in d dimensions: how well are they read back, by dot products, top k
    and matching pursuit?

    Examples:

        loci superposition interference --out interference.html

        loci superposition interference --dim 64 --features 256 -k 1 -k 2 -k 4
    """
    from loci.studies.superposition import interference as measure

    _train(
        "measuring",
        measure,
        out,
        json,
        dim,
        features,
        *_given(active),
        trials=trials,
        steps=steps,
        seed=seed,
    )


@app.command("weights")
@opens()
def weights(
    centre: Annotated[
        bool, typer.Option("--centre", help="take the mean vector off first")
    ] = False,
    sample: Annotated[int, whole("at most so many vectors of a space", low=2)] = 20_000,
    directions: Annotated[
        Path | None,
        typer.Option(
            help=(
                "instead of a model: a .safetensors file; each matrix in it holds directions as"
                " rows"
            )
        ),
    ] = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Angles between a model's keys, values and embeddings against random directions and the
    bounds; effective rank; features a dimension.

    Examples:

        loci superposition weights --out weights.html

        loci superposition weights -m gpt2 --centre

        loci superposition weights --directions dictionary.safetensors
    """
    from loci.studies.superposition import file_angles, weight_angles

    check_out(out)
    opened: Any = None if directions else opening.open_weights()
    with bar("measuring") as progress:
        if directions:
            found = file_angles(
                directions, centre=centre, sample=sample, seed=seed, progress=progress
            )
        else:
            found = weight_angles(
                opened, centre=centre, sample=sample, seed=seed, progress=progress
            )
    finish(found, out, json)


def _train(text: str, job: Any, out: Path | None, json: bool, *given: Any, **options: Any) -> None:
    check_out(out)
    with bar(text) as progress:
        found = job(*given, **options, progress=progress)
    finish(found, out, json)


def _given(values: list[Any] | None) -> tuple[Any, ...]:
    """What was said, or nothing, so that the library's own default holds."""
    return (tuple(values),) if values else ()


def check_out_vectors(path: Path | None) -> None:
    """Refuse a bad `--vectors` before the work."""
    if path is None:
        return
    from loci.files import check_writable

    if path.suffix != ".safetensors":
        raise SuperpositionError(f"{path}: vectors are written as .safetensors")
    check_writable(path)


def indices_from(text: str, count: int) -> list[int]:
    """Numbers of vectors: "0,7,12", or "0:1000" as a range, cut off at the end."""
    try:
        if ":" in text:
            low, high = (int(part) for part in text.split(":"))
            return list(range(low, min(high, count)))
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise SuperpositionError(
            f"{text!r} are no numbers of vectors: expected 0,7,12 or 0:1000"
        ) from None
