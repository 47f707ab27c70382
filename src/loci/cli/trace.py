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


@opens()
def run(
    prompt: Annotated[
        str | None, said("the prompt, up to where the answer comes", "PROMPT")
    ] = None,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    occurrence: Annotated[
        int | None,
        whole("which one, where the subject stands more than once: 0, 1, … or -1", low=-MANY),
    ] = None,
    facts: FACTS = None,
    known: KNOWN = None,
    shots: SHOTS = 0,
    chat: CHAT = False,
    resume: Annotated[
        Path | None,
        typer.Option(help="with many facts: a file that keeps what is done, and goes on from it"),
    ] = None,
    neurons: Annotated[
        int | None, layer("restore single MLP neurons of this layer", "--neurons", metavar="LAYER")
    ] = None,
    token: Annotated[
        int | None, whole("with --neurons: at which token; the subject's last by default", low=0)
    ] = None,
    estimate: Annotated[
        Estimator | None,
        typer.Option(help="estimate the grid by gradients, and compare with exact tracing"),
    ] = None,
    samples: Annotated[int, whole("draws of the corruption", high=10_000)] = 10,
    noise: Annotated[
        float, number("its strength: σ in standard deviations of the embedding", high=1e6)
    ] = 3.0,
    corruption: Annotated[Corruption, typer.Option(help="how the subject is hidden")] = "noise",
    severed: Annotated[
        bool,
        typer.Option("--severed", help="also states with later MLPs or attention held corrupted"),
    ] = False,
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
    if (prompt is None) != many:
        raise FactError("say a prompt, or --facts FILE, or --known N")
    if many and (neurons is not None or estimate is not None or subject or answer):
        raise FactError(
            "--subject, --answer, --neurons and --estimate are of one prompt, not of many facts"
        )
    if not many and resume is not None:
        raise FactError("--resume is of many facts: say --facts or --known")
    if token is not None and neurons is None:
        raise FactError("--token says where --neurons are restored: say both")
    check_out(out)
    if resume is not None:
        check_writable(resume)
    opened = opening.open()
    check_layers(opened, neurons, option="--neurons")
    frame = Frame(shots, chat, seed)
    frame.check(opened)
    settings: dict[str, Any] = {
        "samples": samples,
        "noise": noise,
        "corruption": corruption,
        "seed": seed,
        "budget": batch_tokens,
    }
    kinds: dict[str, Any] = {"kinds": KINDS + SEVERED if severed else KINDS, "window": window}
    if many:
        asked = frame.facts(opened, _facts(facts, known, seed))
        with bar("tracing") as progress:
            average = average_trace(
                opened, asked, **settings, **kinds, resume=resume, progress=progress
            )
        finish(average, out, json)
        return
    fact = fact_from(opened, prompt or "", subject, occurrence, answer, frame)
    if neurons is not None:
        finish(trace_neurons(opened, fact, neurons, token, **settings), out, json)
        return
    if estimate is not None:
        with bar("differentiating") as progress:
            found = attribute(opened, fact, **settings | {"method": estimate}, progress=progress)
        finish(found, out, json)
        return
    with bar("tracing") as progress:
        result = trace(opened, fact, **settings, **kinds, progress=progress)
    finish(result, out, json)


def _facts(path: Path | None, known: int | None, seed: int) -> Any:
    from loci.facts import known_facts, load_facts

    return load_facts(path) if path is not None else known_facts().sample(known or 0, seed=seed)
