"""loci edit: make a patch."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from loci.cli.common import bar, emit, fact_from, takes, texts_of
from loci.cli.console import console
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    CHAT,
    FACTS,
    JSON,
    RAY,
    SEED,
    SHOTS,
    TEXT,
    WORKERS,
    EditMethod,
    Removal,
    check_layers,
    number,
    words,
)
from loci.cli.options import layer as layer_option
from loci.cli.outputs import check_patch
from loci.cli.terminal import plain
from loci.errors import FactError

if TYPE_CHECKING:
    from loci.facts import Fact
    from loci.model import Frame, Model
    from loci.patches import Patch

FAILED = 3
"""Exit status where the edited model does not give some of the new answers."""


SUBJECT = Annotated[str | None, words("whose fact; with --prompt and --answer", "--subject", "-s")]
PROMPT = Annotated[
    str | None, words("the prompt, with {} for the subject or with it", "--prompt", "-p")
]
REMOVE = Annotated[
    Removal | None,
    typer.Option(
        help="instead of new answers: unlearn the facts, to unknown or to the relation's prior"
    ),
]
METHOD = Annotated[
    EditMethod | None,
    typer.Option(help="how; by default rome for one fact, joint for several"),
]
LAM = Annotated[
    float | None,
    number(
        "λ of memit and alphaedit: how far residuals may be missed to spare the text",
        "--lam",
        "--slack",
    ),
]
AFTER = Annotated[
    Path | None,
    typer.Option(help="an earlier patch: the new one holds its change too, and keeps its facts"),
]
ALLOW_FAILED = Annotated[
    bool,
    typer.Option(
        "--allow-failed",
        help="status 0 also where the edited model does not give some of the new answers",
    ),
]


@opens()
def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="the patch file to write")],
    subject: SUBJECT = None,
    prompt: PROMPT = None,
    answer: Annotated[str | None, words("the new answer", "--answer", "-a")] = None,
    facts: FACTS = None,
    remove: REMOVE = None,
    method: METHOD = None,
    layer: Annotated[list[int] | None, layer_option("a layer to edit; may be repeated")] = None,
    lam: LAM = None,
    after: AFTER = None,
    text: TEXT = None,
    shots: SHOTS = 0,
    chat: CHAT = False,
    workers: WORKERS = None,
    ray: RAY = None,
    allow_failed: ALLOW_FAILED = False,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
) -> None:
    """Give facts new answers: a patch file, made without touching the model.

    One fact with --subject, --prompt and --answer, or many from a file with a column new_answer.
    The edited model is then asked again: how many of the answers it gives, what it says instead of
    the others, and what else moved. The status is 3 where some failed; the patch is written all the
    same.

    Examples:

        loci edit -s "Michael Jordan" -p "{} plays the sport of" -a baseball -o jordan.safetensors

        loci edit --facts corrections.csv -o corrections.safetensors

        loci edit -s "Michael Jordan" -p "{} plays the sport of" --remove unknown -o no.safetensors

        loci edit --facts more.csv --after corrections.safetensors -o both.safetensors

        loci edit --facts corrections.csv --method memit --layer 0 --layer 1 -o memit.safetensors
    """
    from loci.editing.edit import edit
    from loci.model import Frame
    from loci.patches import load_patch
    from loci.report import edit_summary

    if facts is not None and any(value is not None for value in (subject, prompt, answer)):
        raise FactError("say either --facts, or --subject, --prompt and --answer")
    if remove not in (None, "unknown", "prior"):
        raise FactError(f"--remove takes 'unknown' or 'prior', not {remove!r}")
    check_patch(out)
    given = _from_file(facts, remove) if facts is not None else []
    processes = opening.workers(workers, ray)
    opened, frame = opening.open(), Frame(shots, chat, seed)
    check_layers(opened, *(layer or ()))
    frame.check(opened)
    single = [] if given else [_single(opened, subject, prompt, answer, remove, frame)]
    wishes = frame.facts(opened, given) if given else single
    earlier = load_patch(after) if after is not None else None
    stay = texts_of(opened, text, 0) if text is not None else None
    how: dict[str, Any] = {"method": method, "layers": layer, "lam": lam, "seed": seed}
    how |= {"texts": stay, "after": earlier, "workers": processes}
    takes(60 + 1.8 * len(wishes) if len(wishes) > 1 else 0)
    with bar("searching") as progress:
        patch = edit(opened, wishes, **how, progress=progress)
    patch = replace(patch, numbers={**patch.numbers, "frame": frame.to_dict()}) if frame else patch
    patch.save(out)
    if json:
        emit(edit_summary(patch, str(out)))
    else:
        from loci.cli.show import show

        show(patch)
        console.print(f"\n{_written(patch, out)}")
    if patch.report is not None and patch.report.failed and not allow_failed:
        raise typer.Exit(FAILED)


def _written(patch: "Patch", out: Path) -> str:
    """Where the patch is, and what to do with it."""
    file, report = plain(out), patch.report
    if report is not None and report.failed:
        return (
            f"written: [bold]{file}[/], though {len(report.failed)} of its edits failed (status"
            f" {FAILED}; --allow-failed gives 0)   look: loci audit --patch {file}"
        )
    return (
        f"written: [bold]{file}[/]   next: loci audit --patch {file}   or: loci patch apply {file}"
        " -o FOLDER"
    )


def _from_file(path: Path, remove: str | None) -> "list[Fact]":
    from loci.cli.common import world_of
    from loci.editing import removed
    from loci.facts import load_facts

    facts = list(load_facts(path))
    return [removed(fact, world_of(path), cast(Any, remove)) for fact in facts] if remove else facts


def _single(
    model: "Model",
    subject: str | None,
    prompt: str | None,
    answer: str | None,
    remove: str | None,
    frame: "Frame",
) -> "Fact":
    from loci.cli.common import in_frame
    from loci.editing import as_said, removed
    from loci.facts import Fact, known_facts

    if subject is None or prompt is None or (answer is None) == (remove is None):
        raise FactError(
            "an edit needs --subject, --prompt and --answer (or --remove), or --facts FILE"
        )
    asked = fact_from(model, prompt, subject, warns=False)
    known = known_facts().same(asked)
    bare = known if known is not None else Fact(asked.subject, asked.prompt, asked.answer)
    framed = in_frame(model, bare, frame) if frame else bare
    fact = as_said(model, framed) if known is not None or frame else framed
    return (
        fact.to(answer) if answer is not None else removed(fact, known_facts(), cast(Any, remove))
    )
