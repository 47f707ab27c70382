"""loci circuits: heads, how they compose, paths, induction, a fact's way through attention and
MLPs; small models (see `circuits_train`).
"""

from pathlib import Path
from typing import Annotated

import typer

from loci.cli import circuits_train
from loci.cli.common import answer_from, bar, check_out, fact_from, filled, finish, written
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    AGAINST,
    ANSWER,
    FACTS,
    JSON,
    KNOWN,
    LAYERS,
    OUT,
    SEED,
    SUBJECT,
    TOP,
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
SHOWN = Annotated[int, TOP]


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
    """What every head does: previous token, duplicate, induction, copying, first token, entropy,
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
        found = head_scores(
            opened,
            length=length,
            repeats=repeats,
            samples=samples,
            seed=seed,
            view=view,
            progress=progress,
        )
    if not found.heads:
        raise CircuitError(f"{found.model!r} has no layers, so no heads")
    finish(HeadScatter(found) if scatter else found, out, json)


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
        found = composed(opened, view=view, offset=offset, mlps=mlps, progress=progress)
    finish(found if threshold is None else CompositionGraph(found, threshold), out, json)


@app.command("paths")
@opens()
def paths(
    prompt: Annotated[str | None, said("a prompt; not for --importance", "PROMPT")] = None,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    against: AGAINST = None,
    order: Annotated[
        int | None,
        whole(
            "heads that a path may pass, beyond which all is one remainder; default: all",
            low=0,
            high=LAYERS,
        ),
    ] = None,
    single: Annotated[
        int, whole("list single paths of at most so many heads", low=0, high=LAYERS)
    ] = 2,
    memory: Annotated[float, number("GiB that listing them may take", high=1e6)] = 1.0,
    corrupted: Annotated[
        str | None,
        words("another prompt of as many tokens: patch the edges between parts", kind="PROMPT"),
    ] = None,
    sender: Annotated[
        str | None,
        words("with --corrupted: one edge alone, from embed, L0H3 or L0MLP", "--from", kind="PART"),
    ] = None,
    receiver: Annotated[
        str | None, words("… to L1H3.q, .k, .v, L1MLP or logits", "--to", kind="PART")
    ] = None,
    importance: Annotated[
        bool,
        typer.Option(
            "--importance", help="the loss over text when paths of more heads are removed"
        ),
    ] = False,
    text: Annotated[
        Path | None, typer.Option("--text", help="with --importance: text to run on")
    ] = None,
    top: SHOWN = 20,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """An answer's score as a sum over paths through heads; the worth of each order; edges between
    any two parts.

    Examples:

        loci circuits paths "Michael Jordan plays the sport of" --against baseball

        loci circuits paths "Osaka is a city in" --corrupted "Lyon is a city in" --out edges.html

        loci circuits paths --importance
    """
    from loci.circuits import PromptPair, edges, order_losses
    from loci.circuits import paths as split

    if prompt == corrupted is not None:
        raise CircuitError("--corrupted is the prompt itself: nothing that it says is different")
    if not importance:
        if prompt is None or not prompt.strip():
            raise CircuitError("say a prompt, or --importance")
        if corrupted is None and (sender or receiver):
            raise CircuitError(
                "--from and --to need --corrupted: what would the sender say otherwise?"
            )
        if (sender is None) != (receiver is None):
            raise CircuitError("an edge has two ends: say --from and --to")
    check_out(out)
    opened = opening.open()
    if importance:
        from loci.text import read_texts

        with bar("removing orders") as progress:
            finish(
                order_losses(opened, list(read_texts(text)) if text else None, progress=progress),
                out,
                json,
            )
        return
    prompt = filled(prompt or "", subject)
    said = answer_from(opened, prompt, answer)
    if corrupted is None:
        finish(
            split(
                opened,
                prompt,
                said,
                against=against,
                highest=order,
                single=single,
                top=top,
                memory=memory,
            ),
            out,
            json,
        )
    elif sender is None or receiver is None:
        finish(edges(opened, prompt, corrupted, said, against=against, top=top), out, json)
    else:
        finish(
            PromptPair(opened, prompt, corrupted, said, against).edge(sender, receiver), out, json
        )


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
        found = token_circuit(
            opened, head, sources=source or (), top=top, view=view, offset=offset, progress=progress
        )
    finish(found, out, json)


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
    """What repetition is worth to the model, which heads find what came before, and which heads
    make their keys.

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
    found = patterns(opening.open(), text, head or ())
    if out is not None and out.suffix == ".html":
        from loci.report import save_attention

        save_attention(found, out)
        written(out)
        out = None
    finish(found, out, json)


@app.command("fact")
@opens()
def fact(
    prompt: Annotated[
        str | None,
        said(
            "a prompt about a known subject, or about --subject; none for --facts or --known",
            "PROMPT",
        ),
    ] = None,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    against: AGAINST = None,
    facts: FACTS = None,
    known: KNOWN = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Which heads carry a subject to its answer, and what the values of early neurons add through
    them. As .html: one page.

    Examples:

        loci circuits fact "Michael Jordan plays the sport of" --out jordan.html

        loci circuits fact --known 50
    """
    from loci.circuits import extraction, fact_circuit
    from loci.facts import known_facts, load_facts

    if [prompt, facts, known].count(None) != 2:
        raise CircuitError("say a prompt, a --facts file, or --known and how many")
    check_out(out)
    asked = load_facts(facts) if facts is not None else known_facts().sample(known or 1, seed=seed)
    opened = opening.open()
    if prompt is None:
        with bar("following facts") as progress:
            finish(extraction(opened, asked, progress=progress), out, json)
        return
    one = fact_from(opened, prompt, subject, answer=answer)
    found = fact_circuit(opened, one, against=against)
    if out is not None and out.suffix == ".html":
        from loci.report import save_circuit

        with bar("reading its neurons") as progress:
            save_circuit(opened, found, out, progress=progress)
        written(out)
        out = None
    finish(found, out, json)


app.command("train")(circuits_train.train)
app.command("small")(circuits_train.small)
