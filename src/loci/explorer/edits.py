"""Verbs that make, judge and hand out patches."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from loci.errors import PatchError
from loci.explorer import arguments as takes

if TYPE_CHECKING:
    from loci.explorer.desk import Desk, Tell
    from loci.patches import Patch

Ids = Sequence[str]
PARTS = 5
"""An edit's own answers, paraphrases among them; three groups that stay; drift."""


def _one(desk: "Desk", name: str) -> "Patch":
    patch = desk.patch([name])
    assert patch is not None
    return patch


def scale(desk: "Desk", args: takes.Scaled, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import scaled

    patch = scaled(desk.model, args.neuron, args.factor)
    return {"schema": "loci.scaled/1", "patch": desk.keep(patch), **args.model_dump()}


def edit(desk: "Desk", args: takes.Edited, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """As `loci edit` makes it: on the base, whatever is on."""
    from loci.editing import as_said
    from loci.editing.edit import edit as make
    from loci.facts import Fact, known_facts
    from loci.model import fact_from
    from loci.report import edit_summary

    model = desk.model
    asked = fact_from(model, args.prompt, args.subject, answer="?", hint="say the subject")
    known = known_facts().same(asked)
    fact = (
        as_said(model, known)
        if known is not None
        else Fact(asked.subject, asked.prompt, asked.answer)
    )
    patch = make(
        model, fact.to(args.answer), method=args.method, seed=args.seed, progress=tell.progress
    )
    name = desk.keep(patch)
    return {
        **edit_summary(patch, f"{name}.safetensors"),
        "id": name,
        "facts": [fact.to_dict() for fact in patch.facts],
    }


def audit(desk: "Desk", args: takes.OfPatch, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.auditing import CHEAP, Scorecard
    from loci.auditing import audit as measure
    from loci.facts import known_facts

    patch = _one(desk, args.patch)
    if not patch.facts:
        raise PatchError(
            "an audit asks what a patch was made for: a neuron that is scaled was made for no fact"
        )

    def growing(card: Scorecard) -> None:
        """Each group of questions, the drift, and each control, as soon as it is measured."""
        tell.part(card.to_dict())
        tell.progress(1, PARTS + len(CHEAP))

    return measure(
        desk.model,
        patch,
        known_facts(),
        controls=CHEAP,
        neighbours=10,
        seed=args.seed,
        growing=growing,
    ).to_dict()


def merge(desk: "Desk", args: takes.Merged, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.editing import with_report
    from loci.patches import merge as join

    patch = join([_one(desk, one) for one in args.patches], keep=args.keep, model=desk.model)
    if patch.facts:
        patch = with_report(desk.model, patch)
    return {**patch.to_dict(), "id": desk.keep(patch)}


def adapter(desk: "Desk", args: takes.OfPatch, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """A LoRA adapter for PEFT, as one archive beside the patches."""
    from loci.files import write_aside
    from loci.patches import export_peft

    name = f"{args.patch}.peft.zip"
    with TemporaryDirectory() as room:
        export_peft(_one(desk, args.patch), desk.model, Path(room) / "adapter")
        made = shutil.make_archive(f"{room}/adapter", "zip", f"{room}/adapter")
        with write_aside(desk.folder / name) as aside:
            shutil.copyfile(made, aside)
    return {"schema": "loci.adapter/1", "file": name}


def folder(desk: "Desk", args: takes.Nothing, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """The model with the patches that are on, as a folder of its own: what others would publish,
    and forensics would look at.
    """
    from loci.patches import apply_to_folder

    patch = desk.patch(ids)
    if patch is None:
        raise PatchError("no patch is on: the folder would be the base again")
    place = desk.folder / f"edited-{patch.id}"
    if not place.is_dir():
        apply_to_folder(patch, desk.model, place)
    return {"schema": "loci.edited_folder/1", "folder": str(place), "patch": patch.id}
