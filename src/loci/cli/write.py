"""loci write: facts put into MLPs without training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loci.cli import write_models
from loci.cli.common import bar, check_new, check_out, finish, takes, written
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    JSON,
    OUT,
    SEED,
    BlockSize,
    Geometry,
    StoreMethod,
    check_layers,
    number,
    whole,
    words,
)
from loci.cli.options import layer as layer_option
from loci.cli.verbs import Verbs
from loci.errors import WriteError

if TYPE_CHECKING:
    from loci.writing import FactTable

app = Verbs(
    help="Facts put into an MLP without training, up to its capacity.", no_args_is_help=True
)
DIM = Annotated[int, whole("dimensions of keys and values", "--dim", "-d", high=100_000)]
GEOMETRY = Annotated[Geometry, typer.Option(help="how keys lie")]
METHOD = Annotated[
    list[StoreMethod] | None, typer.Option("--method", help="a method; may be said again")
]


@app.command("gate")
def gate(
    cosine: Annotated[
        float,
        number(
            "of two names' directions, where they are not perpendicular",
            "--cosine",
            "-c",
            low=-1.0,
            high=1.0,
        ),
    ] = 0.1,
    size: Annotated[
        BlockSize | None, typer.Option(help="a whole block of gates at a true size")
    ] = None,
    names: Annotated[int, whole("with --size: how many names to ask the block for")] = 128,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """The lesson's block to the letter: a neuron that knows who Michael Jordan is, and what can go
    wrong with it.

    Examples:

        loci write gate

        loci write gate --cosine 0.3 --out gate.html

        loci write gate --size gpt3
    """
    from loci.writing import full_size
    from loci.writing import gate as make

    check_out(out)
    if size is None:
        finish(make(cosine, seed=seed), out, json)
        return
    with bar("running the block") as progress:
        result = full_size(size, names, seed=seed, progress=progress)
    finish(result, out, json)


@app.command("store")
def store(
    neurons: Annotated[int, whole("the budget", "--neurons", "-n")],
    dim: DIM = 32,
    facts: Annotated[int, whole("how many random facts")] = 128,
    geometry: GEOMETRY = "isotropic",
    table: Annotated[
        Path | None,
        typer.Option(
            help="your own facts, .safetensors: keys [N, d], and labels [N] or answers [N, d_out]"
        ),
    ] = None,
    method: METHOD = None,
    save: Annotated[
        Path | None, typer.Option(help="write the best store's weights, .safetensors")
    ] = None,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Store the same facts by every method in so many neurons: recall, margins, robustness, bits
    per parameter, time.

    Examples:

        loci write store --dim 32 --facts 512 --neurons 20

        loci write store -n 20 --table facts.safetensors --method compiled-gated
    """
    from loci.writing import METHODS, case, load_table, save_mlp, stores

    check_out(out)
    check_new(save, ".safetensors")
    facts_in = load_table(table) if table else case(dim, facts, geometry, seed)
    with bar("storing") as progress:
        result = stores(
            facts_in, neurons, tuple(map(str, method or METHODS)), seed=seed, progress=progress
        )
    if save is not None:
        save_mlp(result.best.mlp, save)
        written(save)
    finish(result, out, json)


@app.command("capacity")
def capacity(
    dim: DIM = 32,
    facts: Annotated[
        list[int] | None, whole("how many facts; may be said again, for a curve")
    ] = None,
    geometry: GEOMETRY = "isotropic",
    model: Annotated[
        str | None,
        words(
            "instead: keys are this model's at its known subjects", "--model", "-m", kind="MODEL"
        ),
    ] = None,
    layer: Annotated[
        int, layer_option("with --model: what enters this layer's MLP", "--layer", "-l")
    ] = 0,
    method: METHOD = None,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """How few neurons store so many facts, by each method, with gradient descent beside it.

    Examples:

        loci write capacity --dim 32 --facts 512

        loci write capacity -d 32 --facts 128 --facts 256 --facts 512 --out capacity.html
    """
    from loci.writing import CapacityCurve
    from loci.writing import capacity as measure
    from loci.writing.capacity_search import DEFAULT

    check_out(out)
    results, methods = [], tuple(map(str, method or DEFAULT))
    counts = facts or [512]
    tables = [_case(dim, count, geometry, model, layer, seed) for count in counts]
    takes(sum(600 * count / 512 for count in counts) * len(methods) / len(DEFAULT))
    for count, table in zip(counts, tables, strict=True):
        with bar(f"{count} facts") as progress:
            results.append(measure(table, methods, progress=progress))
    finish(results[0] if len(results) == 1 else CapacityCurve(tuple(results)), out, json)


@app.command("fullness")
@opens()
def fullness(
    layer: Annotated[int, layer_option("whose inputs are the keys", "--layer", "-l")] = 1,
    neurons: Annotated[
        int, whole("how many of the MLP's neurons hold the facts", "--neurons", "-n")
    ] = 16,
    facts: Annotated[
        list[int] | None, whole("how many facts to write; may be said again, for a curve")
    ] = None,
    method: Annotated[
        StoreMethod, typer.Option(help="how they are stored")
    ] = StoreMethod.compiled_relu,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """How full is an MLP? Facts of the embedded model's kind, written into a few neurons until the
    first are lost; facts per neuron.

    Examples:

        loci write fullness

        loci write fullness --neurons 8 --facts 500 --facts 1000 --facts 2000 --out fullness.html
    """
    from loci.writing import fullness as measure

    check_out(out)
    opened = opening.open()
    check_layers(opened, layer)
    with bar("writing") as progress:
        result = measure(
            opened, layer, neurons, method=method.value, counts=facts, seed=seed, progress=progress
        )
    finish(result, out, json)


def _case(
    dim: int, facts: int, geometry: str, model: str | None, layer: int, seed: int
) -> "FactTable":
    from loci.writing import case, subject_case

    if model is None:
        return case(dim, facts, geometry, seed)
    from loci.facts import known_facts
    from loci.model import open_model

    opened = open_model(model)
    if not 0 <= layer < opened.n_layers:
        raise WriteError(f"layers are 0 … {opened.n_layers - 1}, not {layer}")
    return subject_case(opened, list(known_facts()), layer, facts, seed)


app.command("planted")(write_models.planted)
app.command("install")(write_models.install)
