"""loci dictionaries: sparse autoencoders and transcoders: train, show, judge, save."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loci.cli.common import bar, check_new, check_out, emit, finish, note, written
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    AGAINST,
    ANSWER,
    FACTS,
    JSON,
    OUT,
    PROMPT,
    SEED,
    TEXT,
    DictionaryFile,
    TrainedKind,
    number,
    said,
    share,
    whole,
    words,
)
from loci.cli.verbs import Verbs

app = Verbs(
    help="Sparse features: train, open, judge and browse dictionaries.", no_args_is_help=True
)
if TYPE_CHECKING:
    from loci.dictionaries.settings import DictionarySettings
    from loci.dictionaries.training import TrainingProgress

DICTIONARY = Annotated[
    str, said("a dictionary's file or folder, or demo:mlp_out.3, .1 or .0", "DICTIONARY")
]
POINT = Annotated[
    str | None,
    words("where the input is read, as mlp_out.3; by default as the file says", "--point"),
]
TARGET = Annotated[
    str | None,
    words("where a transcoder's output belongs; by default as the file says", "--target"),
]
STEPS_ASKED = whole("steps of Adam", "--steps", high=10_000_000)
OWN_TEXTS = 8000
"""Of about 60 tokens each: 1,000 steps take each token four times."""
SAVED = Annotated[Path | None, typer.Option("--save", help="write the dictionary as .safetensors")]


@app.command("train")
@opens()
def train(
    point: Annotated[
        list[str],
        words("where activations are read, as mlp_out.3; say it again for more", "--point"),
    ],
    transcoder: Annotated[
        bool,
        typer.Option("--transcoder", help="from mlp_in.L to mlp_out.L, where --point says either"),
    ] = False,
    width: Annotated[
        float, number("features for each number of the input", "--width", low=0.01, high=4096)
    ] = 8.0,
    k: Annotated[int, whole("features that are on at a token", "--k", "-k")] = 32,
    activation: Annotated[TrainedKind, typer.Option(help="which features stay on")] = "topk",
    steps: Annotated[int, STEPS_ASKED] = 1000,
    batch: Annotated[int, whole("tokens of a step")] = 2048,
    lr: Annotated[
        float | None,
        number("largest step size; 2e-4 · √(2¹⁴ / features) by default", "--lr", low=1e-8, high=1),
    ] = None,
    auxk: Annotated[float, share("weight of the loss that revives dead features")] = 1 / 32,
    text: TEXT = None,
    own: Annotated[
        int | None, whole("so many texts that the model samples itself, instead", "--own")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="a file to go on from, .safetensors")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="write it as .safetensors; several into this folder"),
    ] = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Train dictionaries on a model's activations: one pass of the model feeds all that are asked
    for.

    Text is what --text says, else the embedded corpus where the model speaks it, else the model's
    own samples; one text of fifty is held out, and what is said is measured there.

    Examples:

        loci dictionaries train --point mlp_out.3 --save mlp_out.3.safetensors

        loci dictionaries train --point mlp_in.3 --transcoder --activation batchtopk -k 16

        loci dictionaries train -m ./my-model --text wiki.jsonl --checkpoint run.safetensors
    """
    from loci.cli.common import texts_of
    from loci.dictionaries import DictionarySettings, save_dictionary
    from loci.dictionaries import train as run
    from loci.dictionaries.training import TrainedDictionaries
    from loci.errors import DictionaryError
    from loci.text import own_texts, speaks_corpus

    check_out(out)
    if own is not None and text is not None:
        raise DictionaryError("--own and --text: say one of them")
    several = len(point) > 1
    check_new(save, *(() if several else (".safetensors",)))
    check_new(checkpoint if checkpoint is None or not checkpoint.exists() else None, ".safetensors")
    opened = opening.open()
    chosen = [
        DictionarySettings(
            *_ends(name, transcoder),
            width=width,
            k=k,
            activation=activation,
            lr=lr,
            auxk=auxk,
            seed=seed,
        )
        for name in point
    ]
    texts = None if text is None else texts_of(opened, text, 0)
    if own is not None:
        texts = own_texts(opened, own, seed=seed)
    elif text is None and not speaks_corpus(opened):
        note(f"no --text: training runs on {OWN_TEXTS:,} texts that the model samples itself")
        texts = own_texts(opened, OWN_TEXTS, seed=seed)
    with bar("training") as progress:

        def report(at: "TrainingProgress") -> None:
            progress(1, at.steps)
            _say(at, chosen)

        found = run(
            opened,
            chosen,
            texts,
            steps=steps,
            batch=batch,
            seed=seed,
            checkpoint=checkpoint,
            report=report,
        )
    for each in found:
        if save is not None:
            path = save / f"{each.settings.point}.safetensors" if several else save
            save_dictionary(each.dictionary, path)
            written(path)
    finish(TrainedDictionaries(tuple(found)) if several else found[0], out, json)


def _ends(point: str, transcoder: bool) -> tuple[str, str | None]:
    """Point and target: with --transcoder the two ends of the MLP whose layer is said."""
    stem, _, layer = point.partition(".")
    return (
        (f"mlp_in.{layer}", f"mlp_out.{layer}")
        if transcoder and stem in ("mlp_in", "mlp_out")
        else (point, None)
    )


def _say(at: "TrainingProgress", chosen: "list[DictionarySettings]") -> None:
    """A line on stderr every tenth of the run."""
    if at.step % max(1, at.steps // 10) == 0:
        for i, each in enumerate(chosen):
            note(
                f"step {at.step:,} of {at.steps:,}, {each.point}: FVU {at.fvu[i]:.3f}, L0"
                f" {at.l0[i]:.1f}, dead {at.dead[i]:,}"
            )


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
        found = run(
            opened, fitting, texts=texts, facts=asked, tokens=tokens, seed=seed, progress=progress
        )
    finish(found, out, json)


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


@app.command("graph")
@opens()
def graph(
    prompt: PROMPT,
    answer: ANSWER = None,
    against: AGAINST = None,
    transcoder: Annotated[
        list[str] | None,
        words(
            "a layer's transcoder, whose features are nodes instead of its neurons; say it again"
            " for more",
            "--transcoder",
        ),
    ] = None,
    followed: Annotated[
        int,
        whole(
            "units whose inputs are computed, the most influential first", "--followed", high=10_000
        ),
    ] = 128,
    tested: Annotated[
        int, whole("units that are taken out in the real model", "--tested", low=0, high=10_000)
    ] = 24,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="a .json for circuit-tracer's front end and Neuronpedia"),
    ] = None,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """How a prompt becomes its answer: a graph of exact linear effects over plain neurons, or over
    transcoders' features.

    Attention, norms and slopes are held. Everything that goes into a node sums to it; interventions
    in the real model say how far to trust the graph.

    Examples:

        loci dictionaries graph "Michael Jordan plays the sport of"

        loci dictionaries graph "Michael Jordan plays the sport of" -a basketball --against tennis

        loci dictionaries graph "Michael Jordan plays" --transcoder mlp_out.1.safetensors
    """
    from loci.dictionaries import attribution_graph, export_graph, load_dictionary
    from loci.dictionaries.conventions import placed
    from loci.errors import DictionaryError

    check_out(out)
    check_new(export, ".json")
    loaded = [(path, load_dictionary(path, pickle=opening.pickle)) for path in transcoder or ()]
    opened = opening.open()
    chosen = {}
    for path, each in loaded:
        each = placed(each, opened, path)
        layer = str(each.point).partition(".")[2]
        if not layer or not each.transcoder:
            raise DictionaryError(
                f"{path}: a graph takes transcoders; this is an autoencoder of {each.point}"
            )
        chosen[int(layer)] = each
    with bar("following units") as progress:
        found = attribution_graph(
            opened,
            prompt,
            answer,
            against=against,
            transcoders=chosen,
            followed=followed,
            tested=tested,
            progress=progress,
        )
    if export is not None:
        export_graph(found, export)
        written(export)
    finish(found, out, json)


@app.command("facts")
@opens()
def facts(
    dictionary: DICTIONARY,
    facts: FACTS = None,
    count: Annotated[int, whole("facts that are asked, spread over all", "--count", "-n")] = 100,
    samples: Annotated[int, whole("draws of the noise on the subject", "--samples")] = 5,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Does a fact live in few features? How many carry half of the causal trace's effect at the
    subject, beside neurons and random directions.

    The dictionary gives an MLP's output: an autoencoder of mlp_out.L, or a transcoder to it. Facts
    are those of the embedded model, unless --facts says others.

    Examples:

        loci dictionaries facts demo:mlp_out.0

        loci dictionaries facts sae -m ./my-model --facts facts.csv --count 50 --out facts.html
    """
    from random import Random

    from loci.dictionaries import fact_sparsity, load_dictionary
    from loci.dictionaries.conventions import placed
    from loci.facts import known_facts, load_facts

    check_out(out)
    loaded = load_dictionary(dictionary, pickle=opening.pickle)
    asked = list(known_facts() if facts is None else load_facts(facts))
    opened = opening.open()
    chosen = placed(loaded, opened, dictionary)
    some = Random(seed).sample(asked, min(count, len(asked)))
    with bar("restoring units") as progress:
        found = fact_sparsity(opened, chosen, some, samples=samples, seed=seed, progress=progress)
    finish(found, out, json)


@app.command("isolate")
@opens()
def isolate(
    dictionary: DICTIONARY,
    facts: FACTS = None,
    pairs: Annotated[int, whole("pairs of subjects that are asked", "--pairs", "-n")] = 64,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """RAVEL's question: change one attribute of a subject without touching the others, by features,
    neurons, a probe's span or random directions.

    Subjects need facts of several relations: those of the embedded model, unless --facts says
    others.

    Examples:

        loci dictionaries isolate demo:mlp_out.0

        loci dictionaries isolate sae -m ./my-model --facts facts.csv --pairs 200 --json
    """
    from loci.dictionaries import attribute_isolation, load_dictionary
    from loci.dictionaries.conventions import placed
    from loci.facts import known_facts, load_facts

    check_out(out)
    loaded = load_dictionary(dictionary, pickle=opening.pickle)
    asked = known_facts() if facts is None else load_facts(facts)
    opened = opening.open()
    chosen = placed(loaded, opened, dictionary)
    with bar("changing attributes") as progress:
        found = attribute_isolation(
            opened, chosen, asked, pairs=pairs, seed=seed, progress=progress
        )
    finish(found, out, json)


@app.command("edits")
@opens()
def edits(
    dictionary: DICTIONARY,
    facts: FACTS = None,
    count: Annotated[int, whole("counterfactuals", "--edits", "-n", high=10_000)] = 20,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Editing by features beside ROME, by the questions of an audit: features clamped to a donor's
    values, one feature steered, the donor's whole output.

    Examples:

        loci dictionaries edits demo:mlp_out.0

        loci dictionaries edits sae -m ./my-model --facts facts.csv --edits 50 --json
    """
    from loci.auditing import audit_feature_edits
    from loci.dictionaries import load_dictionary
    from loci.dictionaries.conventions import placed
    from loci.facts import known_facts, load_facts

    check_out(out)
    loaded = load_dictionary(dictionary, pickle=opening.pickle)
    asked = known_facts() if facts is None else load_facts(facts)
    opened = opening.open()
    chosen = placed(loaded, opened, dictionary)
    with bar("editing") as progress:
        found = audit_feature_edits(opened, chosen, asked, count, seed=seed, progress=progress)
    finish(found, out, json)


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
    found = load_dictionary(dictionary, pickle=pickle)
    save_dictionary(found, place, format=format)
    if json:
        named = {
            name: getattr(found, name)
            for name in ("activation", "features", "d_in", "d_out", "k", "point", "target")
        }
        emit({"schema": "loci.dictionary-file/1", "file": str(place), "format": format, **named})
    else:
        written(place)
