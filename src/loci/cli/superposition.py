"""loci superposition: how many directions fit, how to build them, and what their sharing costs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from loci.cli import superposition_toys
from loci.cli.common import bar, check_out, finish, written
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, OUT, SEED, STEPS, Code, number, whole, words
from loci.cli.superposition_toys import DIM, _given, _train
from loci.cli.verbs import Verbs
from loci.errors import SuperpositionError

app = Verbs(
    help=(
        "How many directions fit into d dimensions, proved and shown, and what their sharing costs."
    ),
    no_args_is_help=True,
)


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


ANGLE = Annotated[
    float | None,
    number(
        "lines at least so many degrees apart; default: the widest code",
        "--angle",
        "-a",
        high=90.0,
    ),
]
COUNT = Annotated[
    int | None,
    whole("instead of a code: push so many random directions apart", "--count", "-n", low=2),
]
ONE_SIDED = Annotated[
    bool, typer.Option("--one-sided", help="with --count: angles above 90° are welcome")
]
INDEX = Annotated[
    str | None,
    words("which vectors of a code to write: as in 0,7,75501567 or 0:1000", kind="NUMBERS"),
]


@app.command("pack")
def pack(
    dim: DIM = 256,
    angle: ANGLE = None,
    kind: Annotated[Code | None, typer.Option(help="one family")] = None,
    count: COUNT = None,
    one_sided: ONE_SIDED = False,
    steps: STEPS = 300,
    vectors: Annotated[Path | None, typer.Option(help="write the vectors: .safetensors")] = None,
    index: INDEX = None,
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
        result = experiment(count, dim, seed=seed, progress=progress)
    finish(result, out, json)


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
            result = file_angles(
                directions, centre=centre, sample=sample, seed=seed, progress=progress
            )
        else:
            result = weight_angles(
                opened, centre=centre, sample=sample, seed=seed, progress=progress
            )
    finish(result, out, json)


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


app.command("toy")(superposition_toys.toy)
app.command("geometry")(superposition_toys.geometry)
app.command("phase")(superposition_toys.phase)
app.command("correlated")(superposition_toys.correlated)
app.command("computation")(superposition_toys.computation)
app.command("attack")(superposition_toys.attack)
