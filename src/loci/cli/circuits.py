"""loci circuits: heads, how they compose, paths, induction, a fact's way through attention and
MLPs; small models (see `circuits_train`).
"""

from typing import Annotated

import typer

from loci.cli import circuits_fact, circuits_paths, circuits_train
from loci.cli.circuits_paths import SHOWN
from loci.cli.common import bar, check_out, finish, written
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    JSON,
    OUT,
    SEED,
    View,
    number,
    said,
    whole,
    words,
)
from loci.cli.verbs import Verbs
from loci.errors import CircuitError

app = Verbs(
    help="Attention and MLPs as one algebra of paths: heads, composition, paths, induction.",
    no_args_is_help=True,
)
VIEW = Annotated[View, typer.Option(help="how much of the norms stands in the weights")]
OFFSET = Annotated[
    int | None, whole("turn keys as they stand so many positions back (rotary embeddings)", low=0)
]
LENGTH = Annotated[int | None, whole("random tokens in a block; default 25, or what fits", low=2)]
REPEATS = Annotated[int, whole("how often a block is said", low=2, high=10_000)]
SAMPLES = Annotated[int, whole("blocks drawn", high=100_000)]


@app.command("heads")
@opens()
def heads(
    length: LENGTH = None,
    repeats: REPEATS = 4,
    samples: SAMPLES = 16,
    view: VIEW = "gain",
    scatter: Annotated[
        bool,
        typer.Option(
            "--scatter", help="draw heads as points in the plane of QK and OV eigenvalues"
        ),
    ] = False,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Score every head: previous token, duplicate, induction, copying, first token, entropy,
    deletion; with intervals.

    Examples:

        loci circuits heads

        loci circuits heads -m ./my-model --scatter --out heads.html
    """
    from loci.circuits import HeadScatter, head_scores

    if scatter and out is None:
        raise CircuitError("--scatter is a figure: say --out and where to write it")
    check_out(out)
    opened = opening.open()
    with bar("scoring heads") as progress:
        result = head_scores(
            opened,
            length=length,
            repeats=repeats,
            samples=samples,
            seed=seed,
            view=view,
            progress=progress,
        )
    if not result.heads:
        raise CircuitError(f"{result.model!r} has no layers, so no heads")
    finish(HeadScatter(result) if scatter else result, out, json)


@app.command("compose")
@opens()
def compose(
    view: VIEW = "gain",
    offset: OFFSET = None,
    mlps: Annotated[
        bool, typer.Option("--mlps", help="MLPs too, as readers and as writers")
    ] = False,
    part: Annotated[
        str | None,
        words(
            "instead: what feeds one head or neuron and what it feeds, as L1H3 or L1N37",
            kind="PART",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        number(
            "list and draw the pairs at least so far above chance; default: the strongest",
            low=-1.0,
            high=1.0,
        ),
    ] = None,
    top: Annotated[int, whole("with --part: how many to show", "--top", "-n")] = 10,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Q-, K- and V-composition of all pairs of heads, beside what random pairs have; or the virtual
    weights of one part.

    Examples:

        loci circuits compose

        loci circuits compose --threshold 0.2 --out graph.png

        loci circuits compose -m ./my-model --mlps --out graph.html

        loci circuits compose --part L0N37
    """
    from loci.circuits import CompositionGraph, head_neurons, neuron_links
    from loci.circuits import compose as composed
    from loci.model.names import HEAD

    check_out(out)
    opened = opening.open() if offset is not None else opening.open_weights()
    if part is not None:
        if threshold is not None:
            raise CircuitError(
                "--threshold is of the graph of all pairs: leave it away with --part"
            )
        links = head_neurons if HEAD.fullmatch(part.strip()) else neuron_links
        finish(links(opened, part, top=top, view=view), out, json)
        return
    with bar("composing") as progress:
        result = composed(opened, view=view, offset=offset, mlps=mlps, progress=progress)
    finish(result if threshold is None else CompositionGraph(result, threshold), out, json)


@app.command("tokens")
@opens()
def tokens(
    head: Annotated[str, said("as L0H3", "HEAD")],
    source: Annotated[
        list[str] | None,
        words(
            "show this source token, as ' keep' or #123; may be said again",
            "--source",
            "-s",
            kind="TOKEN",
        ),
    ] = None,
    view: VIEW = "gain",
    offset: OFFSET = None,
    top: SHOWN = 10,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """A head from token to token: skip-trigrams [source … destination → out], and whether it
    copies.

    Examples:

        loci circuits tokens L0H5

        loci circuits tokens L0H5 --source " painter" --out trigrams.html
    """
    from loci.circuits import token_circuit

    check_out(out)
    opened = opening.open() if offset is not None else opening.open_weights()
    with bar("reading tokens") as progress:
        result = token_circuit(
            opened, head, sources=source or (), top=top, view=view, offset=offset, progress=progress
        )
    finish(result, out, json)


@app.command("induction")
@opens()
def induction(
    text: Annotated[
        str | None, words("repeat this instead of random tokens", "--text", "-t")
    ] = None,
    length: LENGTH = None,
    repeats: REPEATS = 4,
    samples: SAMPLES = 16,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Find induction heads: how much repetition helps the model, which heads attend to the earlier
    occurrence, and which heads compose into their keys.

    Examples:

        loci circuits induction

        loci circuits induction -m ./two-layers --out induction.html
    """
    from loci.circuits import induction as look

    check_out(out)
    opened = opening.open()
    with bar("repeating") as progress:
        finish(
            look(
                opened,
                text,
                length=length,
                repeats=repeats,
                samples=samples,
                seed=seed,
                progress=progress,
            ),
            out,
            json,
        )


@app.command("attention")
@opens()
def attention(
    text: Annotated[str, said("any text", "TEXT")],
    head: Annotated[
        list[str] | None, words("as L0H3; may be said again; default: all", "--head", kind="HEAD")
    ] = None,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Attention patterns on a text, plain and value-weighted. As .html: a page with the text
    itself, to hover over.

    Examples:

        loci circuits attention "Michael Jordan plays the sport of" --out attention.html
    """
    from loci.circuits import patterns

    check_out(out)
    result = patterns(opening.open(), text, head or ())
    if out is not None and out.suffix == ".html":
        from loci.report import save_attention

        save_attention(result, out)
        written(out)
        out = None
    finish(result, out, json)


app.command("train")(circuits_train.train)
app.command("small")(circuits_train.small)


app.command("paths")(circuits_paths.paths)


app.command("fact")(circuits_fact.fact)
