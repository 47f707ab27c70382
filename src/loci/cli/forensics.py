"""loci forensics: was this checkpoint edited, and whom is it about."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loci.cli.common import bar, check_out, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, OUT, SEED, TEXT, said
from loci.errors import ModelError

if TYPE_CHECKING:
    from loci.model import Weights


BASE = Annotated[
    str, said("the checkpoint before: `demo`, a folder, or a hub id; or the only one", "BASE")
]
EDITED = Annotated[
    str | None, said("the checkpoint after; without it, BASE is judged by itself", "EDITED")
]
SUBJECTS = Annotated[
    Path | None,
    typer.Option("--subjects", help="whom to ask about: a fact file, or a subject in each line"),
]


@opens("model", "dtype", "device_map", "pickle")
def run(
    base: BASE,
    edited: EDITED = None,
    subjects: SUBJECTS = None,
    text: TEXT = None,
    answers: Annotated[bool, typer.Option(help="ask both models about those found")] = True,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Compare two checkpoints: which weights changed, in how many directions, and which subjects
    the change is about.

    Weights are compared as they lie on disk, one at a time. For the embedded model the known facts'
    subjects are asked about where no file is given. With one checkpoint alone, its weights are
    compared with those of its other layers.

    Examples:

        loci forensics demo ./edited --out forensics.html

        loci forensics ./base ./edited --subjects people.txt --text corpus.txt

        loci forensics ./checkpoint
    """
    from loci.auditing.forensics import alone, candidates_of, forensics, load_candidates
    from loci.facts import known_facts
    from loci.text import read_texts

    check_out(out)
    if edited is None:
        with bar("reading weights") as progress:
            finish(alone(_stored(opening, base), progress=progress), out, json)
        return
    if _place(base) == _place(edited):
        raise ModelError(
            f"{base!r} and {edited!r} are the same checkpoint: give the base and the edited one"
        )
    known = candidates_of(known_facts()) if base == "demo" else []
    candidates = load_candidates(subjects) if subjects else known
    texts = list(read_texts(text)) if text else None
    before, after = _stored(opening, base), _stored(opening, edited)
    with bar("comparing") as progress:
        result = forensics(
            lambda: replace(opening, model=base).open(),
            after,
            candidates,
            stored=before,
            texts=texts,
            answers=answers,
            seed=seed,
            progress=progress,
        )
    finish(result, out, json)


def _stored(opening: Opening, source: str) -> "Weights":
    """A checkpoint's weights as they lie on disk."""
    return replace(opening, model=source, dtype="auto").open_weights()


def _place(source: str) -> str:
    """A folder's real place; a hub id as it is."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() and source != "demo" else source
