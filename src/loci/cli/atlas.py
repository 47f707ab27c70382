"""loci atlas: the book of all neurons, to build, to search and to ask."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import typer

from loci.cli.common import bar, check_out, emit, finish, note
from loci.cli.console import console
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    BATCH_TOKENS,
    JSON,
    OUT,
    RAY,
    SEED,
    TEXT,
    TOKENS,
    WORKERS,
    NeuronKind,
    said,
    whole,
    words,
)
from loci.cli.options import layer as layer_option
from loci.cli.terminal import plain
from loci.cli.verbs import Verbs
from loci.errors import FactError

app = Verbs(
    help="The book of all neurons: build it, find neurons by words, show one, ask in SQL.",
    no_args_is_help=True,
)
OWN_TEXTS = 1000
"""Texts that a model samples for its atlas where none are given."""
FOLDER = Annotated[Path, typer.Argument(help="an atlas")]


@app.command("build")
@opens()
def build(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="a new folder, or one with a half-built atlas")
    ],
    text: TEXT = None,
    own: Annotated[
        int | None, whole("so many texts that the model samples itself, instead")
    ] = None,
    tokens: Annotated[int | None, whole("stop after about so many tokens", high=TOKENS)] = None,
    batch_tokens: Annotated[int, BATCH_TOKENS] = 4096,
    workers: WORKERS = None,
    ray: RAY = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
) -> None:
    """Read all neurons of a model over a text, and write the tables. Stopped with Ctrl-C, it goes
    on where it was when called again.

    Examples:

        loci atlas build -o demo-atlas

        loci atlas build -m gpt2 --text wiki.jsonl --tokens 1000000 -o gpt2-atlas

        loci atlas build -m gpt2 --text wiki.jsonl --workers 4 -o gpt2-atlas
    """
    from loci.facts import corpus
    from loci.reading import build_atlas, open_atlas
    from loci.text import own_texts, read_texts, speaks_corpus

    processes = opening.workers(workers, ray)
    opened = opening.open()
    texts: Callable[[], Iterable[str]] = corpus
    source, read = "the embedded text", cast("Path | list[str] | None", text)
    if own is None and text is None and not speaks_corpus(opened):
        own = OWN_TEXTS
        note(f"no --text: the atlas reads {own:,} texts that the model samples itself")
    if own is not None:
        sampled = own_texts(opened, own, seed=seed)
        texts, source, read = (lambda: sampled), f"{own:,} texts of its own, seed {seed}", sampled
    elif text is not None:
        read_texts(text)
        texts, source = (lambda: read_texts(text)), f"{text.name} ({text.stat().st_size:,} bytes)"
    with bar("reading neurons") as progress:
        build_atlas(
            opened,
            texts,
            out,
            source=source,
            limit=tokens,
            budget=batch_tokens,
            workers=processes,
            text=read,
            progress=progress,
        )
    finish(open_atlas(out), json=json)


@app.command("find")
def find(
    folder: FOLDER,
    word: Annotated[str | None, said("a word", "WORD")] = None,
    kind: Annotated[
        NeuronKind | None, typer.Option(help="instead of a word: neurons of a kind")
    ] = None,
    top: Annotated[int, whole("how many neurons of each kind")] = 20,
    layer: Annotated[int | None, layer_option("of this layer alone")] = None,
    cosine: Annotated[str, words("key·value cosine", kind="LOW:HIGH")] = "-1:1",
    rate: Annotated[str, words("firing rate", kind="LOW:HIGH")] = "0:1",
    json: JSON = False,
) -> None:
    """Neurons that promote a word, and neurons that fire at it; or neurons of a kind.

    Erasers have a key·value cosine of at most -0.3; dead neurons are above 0 at no token of the
    text, always-on ones at every token.

    Examples:

        loci atlas find demo-atlas basketball

        loci atlas find demo-atlas --kind eraser --layer 5

        loci atlas find demo-atlas basketball --layer 0 --rate 0:0.01
    """
    from loci.reading import open_atlas

    if (word is None) == (kind is None):
        raise FactError("say a word, or a --kind: eraser, dead or always-on")
    for name, text in (("WORD", word), ("--cosine", cosine), ("--rate", rate)):
        if text is not None and not text.strip():
            raise FactError(f"{name} is empty")
    cosines, rates = _range("--cosine", cosine, -1, 1), _range("--rate", rate, 0, 1)
    atlas = open_atlas(folder)
    if layer is not None and layer >= atlas.provenance["layers"]:
        raise FactError(
            f"--layer {layer}: the atlas has the layers 0 … {atlas.provenance['layers'] - 1}"
        )
    ask = partial(atlas.kind, kind) if kind else partial(atlas.find, word or "")
    finish(ask(top=top, layer=layer, cosine=cosines, rate=rates), json=json)


@app.command("summary")
def summary(folder: FOLDER, json: JSON = False, out: OUT = None) -> None:
    """All neurons at a glance: cosines against firing rates; dead, always-on and erasing neurons by
    layer.

    Example:

        loci atlas summary demo-atlas --out atlas.html
    """
    from loci.reading import open_atlas

    check_out(out)
    finish(open_atlas(folder), out, json)


@app.command("show")
def show(
    folder: FOLDER,
    neuron: Annotated[str, said("its name, as L3N512", "NEURON")],
    out: OUT = None,
    json: JSON = False,
) -> None:
    """A neuron's card from the atlas; no model is opened.

    Example:

        loci atlas show demo-atlas L1N37
    """
    from loci.reading import open_atlas

    check_out(out)
    finish(open_atlas(folder).card(neuron), out, json)


@app.command("query")
def query(
    folder: FOLDER, sql: Annotated[str, said("one SELECT", "SQL")], json: JSON = False
) -> None:
    """Ask in SQL (DuckDB), reading only: tables neurons, values, triggers, histograms, texts.

    Example:

        loci atlas query demo-atlas "SELECT layer, avg(firing_rate) FROM neurons GROUP BY layer"
    """
    from loci.reading import open_atlas

    finish(open_atlas(folder).query(sql), json=json)


@app.command("export")
@opens()
def export(
    folder: FOLDER,
    out: Annotated[Path, typer.Option("--out", "-o", help="a folder for the files")],
    model_id: Annotated[str, words("how Neuronpedia calls the model", kind="ID")],
    layer: Annotated[int | None, layer_option("this layer alone")] = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
) -> None:
    """Write an atlas in Neuronpedia's form for uploads, 128 neurons a file; the texts of its
    triggers are in the atlas.

    Example:

        loci atlas export demo-atlas -o features --model-id demo --layer 3
    """
    from loci.reading import check_export, export_neuronpedia, open_atlas

    if not model_id.strip():
        raise FactError("--model-id is empty")
    atlas = open_atlas(folder)
    if layer is not None and layer >= atlas.provenance["layers"]:
        raise FactError(
            f"--layer {layer}: the atlas has the layers 0 … {atlas.provenance['layers'] - 1}"
        )
    check_export(atlas, out)
    opened = opening.open()
    layers = None if layer is None else [layer]
    with bar("running triggers") as progress:
        written = export_neuronpedia(
            atlas, opened, out, model_id=model_id, layers=layers, progress=progress
        )
    if json:
        emit({"schema": "loci.atlas_export/1", "files": [str(path) for path in written]})
    else:
        console.print(f"written: {len(written)} files in {plain(out)}")


def _range(option: str, text: str, least: float, most: float) -> tuple[float, float]:
    """A range LOW:HIGH within what is possible at all."""
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise FactError(
            f"{option}: {text!r} is no range: expected LOW:HIGH, as in {least}:{most}"
        ) from None
    if not least <= low <= high <= most:
        raise FactError(f"{option}: {text!r} holds nothing: expected {least} ≤ LOW ≤ HIGH ≤ {most}")
    return low, high
