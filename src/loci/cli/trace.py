"""loci trace: where is a fact."""

from pathlib import Path
from typing import Annotated, Any

import typer

from loci.cli.common import bar, check_out, fact_from, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    ANSWER,
    BATCH_TOKENS,
    CHAT,
    FACTS,
    JSON,
    KNOWN,
    MANY,
    OUT,
    SEED,
    SHOTS,
    SUBJECT,
    Corruption,
    Estimator,
    check_layers,
    layer,
    number,
    said,
    whole,
)
from loci.errors import FactError

PROMPT = Annotated[str | None, said("the prompt, up to where the answer comes", "PROMPT")]
OCCURRENCE = Annotated[
    int | None,
    whole("which one, where the subject stands more than once: 0, 1, … or -1", low=-MANY),
]
RESUME = Annotated[
    Path | None,
    typer.Option(help="with many facts: a file that keeps what is done, and goes on from it"),
]
NEURONS = Annotated[
    int | None, layer("restore single MLP neurons of this layer", "--neurons", metavar="LAYER")
]
TOKEN = Annotated[
    int | None, whole("with --neurons: at which token; the subject's last by default", low=0)
]
ESTIMATE = Annotated[
    Estimator | None,
    typer.Option(help="estimate the grid by gradients, and compare with exact tracing"),
]
NOISE = Annotated[
    float, number("its strength: σ in standard deviations of the embedding", high=1e6)
]
SEVERED_ASKED = Annotated[
    bool,
    typer.Option("--severed", help="also states with later MLPs or attention held corrupted"),
]


@opens()
def run(
    prompt: PROMPT = None,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    occurrence: OCCURRENCE = None,
    facts: FACTS = None,
    known: KNOWN = None,
    shots: SHOTS = 0,
    chat: CHAT = False,
    resume: RESUME = None,
    neurons: NEURONS = None,
    token: TOKEN = None,
    estimate: ESTIMATE = None,
    samples: Annotated[int, whole("draws of the corruption", high=10_000)] = 10,
    noise: NOISE = 3.0,
    corruption: Annotated[Corruption, typer.Option(help="how the subject is hidden")] = "noise",
    severed: SEVERED_ASKED = False,
    window: Annotated[int, whole("layers restored together, for MLP and attention")] = 1,
    batch_tokens: Annotated[int, BATCH_TOKENS] = 1536,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Causal tracing: corrupt the subject, put one state back at a time, and see what brings the
    answer back.

    Of one prompt; of single MLP neurons; or averaged over many facts, by the role of the token,
    with intervals.

    Examples:

        loci trace "Michael Jordan plays the sport of"

        loci trace "The Eiffel Tower is in" -s "Eiffel Tower" -m gpt2 --severed --out tower.html

        loci trace "Michael Jordan plays the sport of" --neurons 0 --corruption resample

        loci trace "Michael Jordan plays the sport of" --estimate integrated

        loci trace "Michael Jordan plays the sport of" --shots 3

        loci trace --known 200 --resume traces.jsonl --out average.html
    """
    from loci.files import check_writable
    from loci.locating import KINDS, SEVERED, attribute, average_trace, trace, trace_neurons
    from loci.model import Frame

    many = facts is not None or known is not None
    single = neurons is not None or estimate is not None or bool(subject or answer)
    _check(prompt, many, single, resume)
    if token is not None and neurons is None:
        raise FactError("--token says where --neurons are restored: say both")
    check_out(out)
    if resume is not None:
        check_writable(resume)
    opened, frame = opening.open(), Frame(shots, chat, seed)
    check_layers(opened, neurons, option="--neurons")
    frame.check(opened)
    settings: dict[str, Any] = {"samples": samples, "noise": noise, "corruption": corruption}
    settings |= {"seed": seed, "budget": batch_tokens}
    kinds: dict[str, Any] = {"kinds": KINDS + SEVERED if severed else KINDS, "window": window}
    if many:
        asked, options = frame.facts(opened, _facts(facts, known, seed)), settings | kinds
        with bar("tracing") as progress:
            average = average_trace(opened, asked, **options, resume=resume, progress=progress)
        finish(average, out, json)
        return
    fact = fact_from(opened, prompt or "", subject, occurrence, answer, frame)
    if neurons is not None:
        finish(trace_neurons(opened, fact, neurons, token, **settings), out, json)
        return
    with bar("tracing" if estimate is None else "differentiating") as progress:
        if estimate is None:
            result: Any = trace(opened, fact, **settings, **kinds, progress=progress)
        else:
            result = attribute(opened, fact, **settings, method=estimate, progress=progress)
    finish(result, out, json)


def _check(prompt: str | None, many: bool, single: bool, resume: Path | None) -> None:
    """Refuse options that exclude each other."""
    if (prompt is None) != many:
        raise FactError("say a prompt, or --facts FILE, or --known N")
    if many and single:
        raise FactError(
            "--subject, --answer, --neurons and --estimate are of one prompt, not of many facts"
        )
    if not many and resume is not None:
        raise FactError("--resume is of many facts: say --facts or --known")


def _facts(path: Path | None, known: int | None, seed: int) -> Any:
    from loci.facts import known_facts, load_facts

    return load_facts(path) if path is not None else known_facts().sample(known or 0, seed=seed)
