"""The verbs of the explorer: what each takes, which lane it runs in, how it is done, and how one would say it elsewhere.

A verb's result is what the command line prints with `--json`, where it has such a command.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loci.explorer import arguments as takes

if TYPE_CHECKING:
    from loci.explorer.desk import Desk, Tell
    from loci.facts import Fact
    from loci.model import Model

Ids = Sequence[str]
Run = Callable[["Desk", Any, Ids, "Tell"], dict[str, Any]]


@dataclass(frozen=True)
class Verb:
    """One thing that the page can ask for."""

    arguments: type[takes.Arguments]
    run: Run
    lane: Literal["quick", "slow"] = "quick"
    kept: bool = True
    """Whether the same question has the same answer, so that it is kept."""


def _fact(model: "Model", args: takes.Prompt) -> "Fact":
    from loci.model import fact_from

    return fact_from(model, args.prompt, args.subject, answer=args.answer, how="say the subject")


def _about(desk: "Desk", args: takes.Nothing, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """What the page has to know of the model, with the fingerprint of its weights as they are at this moment."""
    model = desk.model
    return {
        "schema": "loci.explorer_model/1",
        "model": model.name,
        "fingerprint": model.fingerprint,
        "base": desk.fingerprint,
        "family": model.layout.family,
        "layers": model.n_layers,
        "d_model": model.d_model,
        "d_mlp": model.d_mlp,
        "heads": model.n_heads,
        "vocabulary": model.d_vocab,
        "experts": model.n_experts,
    }


def _ask(desk: "Desk", args: takes.Asked, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.auditing import ask

    return ask(desk.model, args.prompt, patch=desk.patch(ids), tokens=args.tokens, top=args.top).to_dict()


def _grid(desk: "Desk", args: takes.Grid, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import lens_grid

    with desk.patched(ids) as model:
        return lens_grid(model, args.prompt, args.top)


def _lens(desk: "Desk", args: takes.Ladder, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.locating import lens
    from loci.model import answer_of

    with desk.patched(ids) as model:
        answer = args.answer or answer_of(model, args.prompt)
        return lens(model, args.prompt, answer, against=args.against, top=args.top).to_dict()


def _trace(desk: "Desk", args: takes.Traced, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """As `loci.trace`, told after each token."""
    import torch

    from loci.locating import KINDS, SEVERED, Corruption
    from loci.locating.runs import prepare
    from loci.locating.trace import Trace

    kinds = KINDS + SEVERED if args.severed else KINDS
    with torch.no_grad(), desk.patched(ids) as model:
        how = Corruption(args.corruption, args.noise, args.samples, args.seed)
        runs = prepare(model, _fact(model, args), how, args.window)
        asked, found = runs.asked, dict[str, Any]()
        for grids in runs.growing_grids(kinds):
            told = Trace(**runs.about, tokens=asked.labels, subject_span=asked.subject, window=args.window, grids=grids)
            found = told.to_dict()
            tell.part(found)
            tell.progress(1, len(asked.labels) - asked.subject[0])
    return found


def _cells(desk: "Desk", args: takes.Prompt, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.locating import neurons

    with desk.patched(ids) as model:
        return neurons(model, _fact(model, args), progress=tell.progress).to_dict(count=100)


def _trace_neurons(desk: "Desk", args: takes.Cell, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.locating import trace_neurons

    settings: dict[str, Any] = args.model_dump(include={"samples", "noise", "corruption", "seed"})
    with desk.patched(ids) as model:
        return trace_neurons(model, _fact(model, args), args.layer, args.token, **settings).to_dict(count=50)


def _read(desk: "Desk", args: takes.Card, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.reading import read
    from loci.text import sample_text

    texts = sample_text(desk.model, args.tokens)
    with desk.patched(ids) as model:
        return read(model, args.neuron, texts, top=args.top, progress=tell.progress).to_dict()


def _histogram(desk: "Desk", args: takes.Card, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import histogram

    with desk.patched(ids) as model:
        return histogram(model, args.neuron, args.tokens, tell.progress)


def _firing(desk: "Desk", args: takes.Fires, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import firing

    with desk.patched(ids) as model:
        return firing(model, args.neuron, args.text)


def _scale(desk: "Desk", args: takes.Scaled, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import scaled

    patch = scaled(desk.model, args.neuron, args.factor)
    return {"schema": "loci.scaled/1", "patch": desk.keep(patch), **args.model_dump()}


def _edit(desk: "Desk", args: takes.Edited, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.editing import as_said, edit
    from loci.facts import Fact, known_facts
    from loci.report import edit_summary

    model = desk.model
    asked = Fact.from_text(args.prompt, args.subject, "?")
    known = known_facts().same(asked)
    fact = as_said(model, known) if known is not None else asked
    patch = edit(model, fact.to(args.answer), method=args.method, seed=args.seed, progress=tell.progress)
    name = desk.keep(patch)
    return {**edit_summary(patch, f"{name}.safetensors"), "id": name, "facts": [fact.to_dict() for fact in patch.facts]}


def _audit(desk: "Desk", args: takes.OfPatch, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.auditing import CHEAP, audit
    from loci.facts import known_facts

    patch = desk.patch([args.patch])
    assert patch is not None
    return audit(desk.model, patch, known_facts(), controls=CHEAP, neighbours=10, seed=args.seed).to_dict()


def _merge(desk: "Desk", args: takes.Merged, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.patches import merge

    patches = [found for one in args.patches if (found := desk.patch([one])) is not None]
    patch = merge(patches, keep=args.keep, model=desk.model)
    return {**patch.to_dict(), "id": desk.keep(patch)}


def _promoting(desk: "Desk", args: takes.Word, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import promoting

    with desk.patched(ids) as model:
        return promoting(model, args.word, args.top)


def _attention(desk: "Desk", args: takes.Pattern, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.circuits import patterns

    with desk.patched(ids) as model:
        return patterns(model, args.text, args.heads).to_dict()


def _heads(desk: "Desk", args: takes.Nothing, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.circuits import head_scores

    with desk.patched(ids) as model:
        return head_scores(model, progress=tell.progress).to_dict()


VERBS: dict[str, Verb] = {
    "about": Verb(takes.Nothing, _about, kept=False),
    "ask": Verb(takes.Asked, _ask),
    "lens_grid": Verb(takes.Grid, _grid),
    "lens": Verb(takes.Ladder, _lens),
    "trace": Verb(takes.Traced, _trace),
    "neurons": Verb(takes.Prompt, _cells),
    "trace_neurons": Verb(takes.Cell, _trace_neurons, "slow"),
    "read": Verb(takes.Card, _read),
    "histogram": Verb(takes.Card, _histogram),
    "firing": Verb(takes.Fires, _firing),
    "scale": Verb(takes.Scaled, _scale),
    "edit": Verb(takes.Edited, _edit, "slow"),
    "audit": Verb(takes.OfPatch, _audit, "slow"),
    "merge": Verb(takes.Merged, _merge),
    "promoting": Verb(takes.Word, _promoting),
    "attention": Verb(takes.Pattern, _attention),
    "heads": Verb(takes.Nothing, _heads, "slow"),
}
