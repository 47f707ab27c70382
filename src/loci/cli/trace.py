"""loci trace: where is a fact."""

from dataclasses import replace
from typing import Annotated

import typer

from loci.cli.common import JSON, OUT, SEED, SUBJECT, bar, check_out, emit, fact_from, save
from loci.cli.opening import Opening, opens


@opens()
def run(
    prompt: Annotated[str, typer.Argument(help="the prompt, up to where the answer comes")],
    subject: SUBJECT = None,
    answer: Annotated[str | None, typer.Option("--answer", "-a", help="the answer to trace; the model's own by default")] = None,
    occurrence: Annotated[
        int | None, typer.Option(help="which one, where the subject stands more than once: 0, 1, … or -1")
    ] = None,
    samples: Annotated[int, typer.Option(help="noise draws")] = 10,
    noise: Annotated[float, typer.Option(help="σ of the noise, in standard deviations of the embedding")] = 3.0,
    window: Annotated[int, typer.Option(help="layers restored together, for MLP and attention")] = 1,
    batch_tokens: Annotated[int, typer.Option(help="most tokens in a batch: bounds the memory")] = 16384,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Causal tracing: corrupt the subject, put one state back at a time, and see what brings the answer back.

    Examples:

        loci trace "Michael Jordan plays the sport of"

        loci trace "The Eiffel Tower is in" -s "Eiffel Tower" -m gpt2 --window 3 --out tower.html
    """
    from loci.locating import KINDS, trace

    check_out(out)
    opened = opening.open()
    fact = fact_from(opened, prompt, subject, occurrence)
    fact = replace(fact, answer=answer) if answer is not None else fact
    with bar("tracing") as progress:
        result = trace(
            opened,
            fact,
            kinds=KINDS,
            samples=samples,
            noise=noise,
            window=window,
            seed=seed,
            budget=batch_tokens,
            progress=progress,
        )
    save(result, out)
    if json:
        emit(result.to_dict())
        return
    from loci.cli.show import show_trace

    show_trace(result)
