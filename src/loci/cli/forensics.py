"""loci forensics: was this checkpoint edited, and whom is it about."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loci.cli.common import bar, check_out, finish, written
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, OUT, SEED, TEXT, said
from loci.errors import ModelError

if TYPE_CHECKING:
    from loci.auditing.forensics import WithoutBase
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


INSIDE = Annotated[
    bool,
    typer.Option(
        "--inside",
        help=(
            "of one checkpoint alone: run it too, and tell from its own keys at which layer it was"
            " edited, and what was written"
        ),
    ),
]
UNDO = Annotated[
    Path | None,
    typer.Option("--undo", help="with --inside: write a patch that takes the edit out again"),
]


@opens("model", "dtype", "device_map", "pickle")
def run(
    base: BASE,
    edited: EDITED = None,
    subjects: SUBJECTS = None,
    text: TEXT = None,
    inside: INSIDE = False,
    undo: UNDO = None,
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
    compared with those of its other layers; with --inside it is run too, and an edit of the ROME
    family is told from what a weight does where its own keys hardly ever are.

    Examples:

        loci forensics demo ./edited --out forensics.html

        loci forensics ./base ./edited --subjects people.txt --text corpus.txt

        loci forensics ./checkpoint

        loci forensics ./checkpoint --inside --subjects people.txt --undo undo.safetensors
    """
    from loci.auditing.forensics import alone, candidates_of, forensics, load_candidates
    from loci.facts import known_facts
    from loci.text import read_texts

    check_out(out)
    _check_inside(edited, inside, undo)
    if edited is None and inside:
        finish(_inside(opening, base, subjects, text, undo, seed), out, json)
        return
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


def _check_inside(edited: str | None, inside: bool, undo: Path | None) -> None:
    """Refuse what only one checkpoint alone, looked at from inside, has a use for."""
    from loci.files import check_writable

    if inside and edited is not None:
        raise ModelError("--inside is for one checkpoint alone: with its base it is not needed")
    if undo is not None and not inside:
        raise ModelError("--undo is written with --inside; with the base, the base is the undo")
    if undo is not None:
        check_writable(undo)


def _inside(
    opening: Opening,
    source: str,
    subjects: Path | None,
    text: Path | None,
    undo: Path | None,
    seed: int,
) -> "WithoutBase":
    """One checkpoint, run; its undo written where a layer stands out."""
    from loci.auditing.forensics import candidates_of, load_candidates, without_base
    from loci.facts import known_facts
    from loci.text import read_texts

    model = replace(opening, model=source).open()
    candidates = load_candidates(subjects) if subjects else []
    known = candidates_of(known_facts().sample_each(2, seed))
    with bar("looking inside") as progress:
        traced = without_base(
            model,
            candidates,
            texts=list(read_texts(text)) if text else None,
            asked_of=[own._replace(templates=own.templates[:1]) for own in known],
            seed=seed,
            progress=progress,
        )
    if undo is not None and traced.undo is not None:
        traced.undo.save(undo)
        written(undo)
    return traced


def _stored(opening: Opening, source: str) -> "Weights":
    """A checkpoint's weights as they lie on disk."""
    return replace(opening, model=source, dtype="auto").open_weights()


def _place(source: str) -> str:
    """A folder's real place; a hub id as it is."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() and source != "demo" else source
