"""loci dictionaries: sparse autoencoders and transcoders: train, show, judge, save."""

from pathlib import Path
from typing import Annotated

import typer

from loci.cli import dictionaries_facts, dictionaries_graph, dictionaries_train
from loci.cli.common import bar, check_new, check_out, emit, finish, written
from loci.cli.dictionaries_facts import DICTIONARY
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    FACTS,
    JSON,
    OUT,
    SEED,
    TEXT,
    DictionaryFile,
    whole,
    words,
)
from loci.cli.verbs import Verbs

app = Verbs(
    help="Sparse features: train, open, judge and browse dictionaries.", no_args_is_help=True
)

POINT = Annotated[
    str | None,
    words("where the input is read, as mlp_out.3; by default as the file says", "--point"),
]
TARGET = Annotated[
    str | None,
    words("where a transcoder's output belongs; by default as the file says", "--target"),
]
SAVED = Annotated[Path | None, typer.Option("--save", help="write the dictionary as .safetensors")]


@app.command("show")
@opens()
def show(
    dictionary: DICTIONARY,
    point: POINT = None,
    target: TARGET = None,
    text: TEXT = None,
    tokens: Annotated[int, whole("tokens that are measured", "--tokens")] = 2000,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Open a dictionary of any known format with its model: what it is, whether it fits, and which
    conventions it follows.

    Formats: Loci, SAELens, sparsify, Gemma Scope, circuit-tracer, dictionary_learning, OpenAI.
    Where it is far from sense as the file says, known variants are tried: input bias, transposed
    skip, norm gain, scale.

    Examples:

        loci dictionaries show mlp_out.3.safetensors

        loci dictionaries show sae/layers.5.mlp -m ./my-model

        loci dictionaries show ae.pt --pickle --point resid_post.3 --json
    """
    from loci.cli.common import texts_of
    from loci.dictionaries import load_dictionary, open_dictionary

    check_out(out)
    loaded = load_dictionary(dictionary, pickle=opening.pickle)
    opened = opening.open()
    texts = None if text is None else texts_of(opened, text, tokens)
    finish(
        open_dictionary(opened, loaded, point=point, target=target, texts=texts, tokens=tokens),
        out,
        json,
    )


@app.command("judge")
@opens()
def judge(
    dictionary: DICTIONARY,
    point: POINT = None,
    target: TARGET = None,
    text: TEXT = None,
    tokens: Annotated[
        int, whole("tokens of the embedded text, where no file is given", "--tokens")
    ] = 20_000,
    facts: FACTS = None,
    labels: Annotated[
        bool, typer.Option("--labels/--no-labels", help="match features with what facts say")
    ] = True,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Is a dictionary any good? Reconstruction, recovered loss, and features against facts as
    labels.

    Beside features stand neurons, random directions and principal components, and labels that were
    shuffled. --json has SAEBench's core keys.

    Examples:

        loci dictionaries judge mlp_out.3.safetensors

        loci dictionaries judge sae -m ./my-model --text wiki.jsonl --facts facts.csv --json
    """
    from loci.cli.common import texts_of
    from loci.dictionaries import judge as run
    from loci.dictionaries import load_dictionary, open_dictionary
    from loci.facts import load_facts

    check_out(out)
    loaded = load_dictionary(dictionary, pickle=opening.pickle)
    asked = [] if not labels else None if facts is None else list(load_facts(facts))
    opened = opening.open()
    texts = None if text is None else texts_of(opened, text, tokens)
    fitting = open_dictionary(opened, loaded, point=point, target=target, texts=texts)
    with bar("judging") as progress:
        result = run(
            opened, fitting, texts=texts, facts=asked, tokens=tokens, seed=seed, progress=progress
        )
    finish(result, out, json)


@app.command("read")
@opens()
def read(
    dictionary: DICTIONARY,
    feature: Annotated[
        int, typer.Argument(help="the feature's number", metavar="FEATURE", min=0, max=10_000_000)
    ],
    point: POINT = None,
    target: TARGET = None,
    text: TEXT = None,
    tokens: Annotated[
        int, whole("tokens of the embedded text, where no file is given", "--tokens")
    ] = 20_000,
    top: Annotated[int, whole("triggers and words listed", "--top", "-n", high=1000)] = 10,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """One feature's card: where it is on, what it promotes, what lies near it, which neurons write
    and read it.

    Examples:

        loci dictionaries read demo:mlp_out.3 120

        loci dictionaries read sae/layers.5.mlp 7 -m ./my-model --text wiki.jsonl
    """
    from loci.cli.common import texts_of
    from loci.dictionaries import load_dictionary, read_features
    from loci.dictionaries.conventions import placed

    check_out(out)
    loaded = load_dictionary(dictionary, pickle=opening.pickle)
    opened = opening.open()
    chosen = placed(loaded, opened, dictionary, point, target)
    with bar("reading features") as progress:
        [card] = read_features(
            opened, chosen, [feature], texts_of(opened, text, tokens), top=top, progress=progress
        )
    finish(card, out, json)


@app.command("convert")
def convert(
    dictionary: DICTIONARY,
    place: Annotated[
        Path,
        typer.Argument(
            help="where to: a .safetensors file, or a new folder for other formats", metavar="PLACE"
        ),
    ],
    format: Annotated[
        DictionaryFile, typer.Option("--format", help="whose form to write")
    ] = "loci",
    pickle: Annotated[
        bool, typer.Option("--pickle", help="read a pickle, which you trust")
    ] = False,
    json: JSON = False,
) -> None:
    """Write a dictionary of any known format as Loci's, SAELens' or sparsify's.

    Examples:

        loci dictionaries convert sae/layers.5.mlp mine.safetensors

        loci dictionaries convert mine.safetensors for-saelens --format saelens
    """
    from loci.dictionaries import load_dictionary, save_dictionary

    check_new(place, *((".safetensors",) if format == "loci" else ()))
    result = load_dictionary(dictionary, pickle=pickle)
    save_dictionary(result, place, format=format)
    if json:
        named = {
            name: getattr(result, name)
            for name in ("activation", "features", "d_in", "d_out", "k", "point", "target")
        }
        emit({"schema": "loci.dictionary-file/1", "file": str(place), "format": format, **named})
    else:
        written(place)


app.command("train")(dictionaries_train.train)


app.command("graph")(dictionaries_graph.graph)


app.command("facts")(dictionaries_facts.facts)
app.command("isolate")(dictionaries_facts.isolate)
app.command("edits")(dictionaries_facts.edits)
