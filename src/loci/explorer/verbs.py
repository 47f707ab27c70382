"""The verbs of the explorer: what each takes, which lane it runs in, how it is done, and how one
would say it elsewhere.

A verb's result is what the command line prints with `--json`, where it has such a command.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loci.explorer import arguments as takes
from loci.explorer import circuit_verbs, edits, worlds

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


def _fact(model: "Model", args: takes.PromptArguments) -> "Fact":
    from loci.model import fact_from

    return fact_from(model, args.prompt, args.subject, answer=args.answer, hint="say the subject")


def _about(desk: "Desk", args: takes.Nothing, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """The description of the model that the page starts from."""
    model = desk.model
    return {
        "schema": "loci.explorer_model/1",
        "model": model.name,
        "fingerprint": desk.fingerprint,
        "family": model.family,
        "layers": model.n_layers,
        "d_model": model.d_model,
        "d_mlp": model.d_mlp,
        "heads": model.n_heads,
        "vocabulary": model.d_vocab,
        "experts": model.n_experts,
        "reading_tokens": desk.reading_tokens,
    }


def _weights(desk: "Desk", args: takes.Nothing, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """The fingerprint of all weights as they are at this moment, beside that of the base. Cost: one
    pass over them.
    """
    now = desk.model.fingerprint
    return {
        "schema": "loci.explorer_weights/1",
        "fingerprint": now,
        "base": desk.fingerprint,
        "same": now == desk.fingerprint,
    }


def _ask(desk: "Desk", args: takes.AskArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.auditing import ask

    return ask(
        desk.model, args.prompt, patch=desk.patch(ids), tokens=args.tokens, top=args.top
    ).to_dict()


def _grid(desk: "Desk", args: takes.Grid, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import lens_grid

    with desk.patched(ids) as model:
        return lens_grid(model, args.prompt, args.top, args.end, tell.progress)


def _lens(desk: "Desk", args: takes.LadderArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.locating import lens
    from loci.model import answer_of

    with desk.patched(ids) as model:
        answer = args.answer or answer_of(model, args.prompt)
        return lens(model, args.prompt, answer, against=args.against, top=args.top).to_dict()


def _trace(desk: "Desk", args: takes.TraceArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """As `loci.trace`, told after each token."""
    import torch

    from loci.locating import KINDS, SEVERED, Corruption
    from loci.locating.causal_trace import Trace
    from loci.locating.runs import prepare

    kinds = KINDS + SEVERED if args.severed else KINDS
    with torch.no_grad(), desk.patched(ids) as model:
        how = Corruption(args.corruption, args.noise, args.samples, args.seed)
        runs = prepare(model, _fact(model, args), how, args.window)
        asked, document = runs.asked, dict[str, Any]()
        tell.progress(0, len(asked.labels) - asked.subject[0])
        for grown in runs.growing(kinds):
            told = Trace(
                **runs.about,
                tokens=asked.labels,
                subject_span=asked.subject,
                window=args.window,
                grids=grown.effects,
                errors=grown.errors,
            )
            document = told.to_dict()
            tell.part(document)
            tell.progress(1, len(asked.labels) - asked.subject[0])
    return document


def _cells(desk: "Desk", args: takes.PromptArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.locating import neuron_attribution

    with desk.patched(ids) as model:
        return neuron_attribution(model, _fact(model, args), progress=tell.progress).to_dict(
            count=100
        )


def _trace_neurons(
    desk: "Desk", args: takes.CellArguments, ids: Ids, tell: "Tell"
) -> dict[str, Any]:
    from loci.locating import trace_neurons

    settings: dict[str, Any] = args.model_dump(include={"samples", "noise", "corruption", "seed"})
    with desk.patched(ids) as model:
        fact = _fact(model, args)
        return trace_neurons(model, fact, args.layer, args.token, **settings).to_dict()


def _read(desk: "Desk", args: takes.Card, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.reading import read

    texts = desk.texts(args.tokens, tell.progress)
    with desk.patched(ids) as model:
        return read(model, args.neuron, texts, top=args.top, progress=tell.progress).to_dict()


def _histogram(desk: "Desk", args: takes.Card, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import histogram

    texts = desk.texts(args.tokens, tell.progress)
    with desk.patched(ids) as model:
        return histogram(model, args.neuron, texts, tell.progress)


def _labels(desk: "Desk", args: takes.Labelled, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.labels import neuron_labels

    with desk.patched(ids) as model:
        return neuron_labels(model, args.neuron, args.facts, args.top)


def _firing(desk: "Desk", args: takes.Fires, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import firing

    with desk.patched(ids) as model:
        return firing(model, args.neuron, args.text)


def _promoting(desk: "Desk", args: takes.WordArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import promoting

    with desk.patched(ids) as model:
        return promoting(model, args.word, args.top)


def _attention(
    desk: "Desk", args: takes.PatternArguments, ids: Ids, tell: "Tell"
) -> dict[str, Any]:
    from loci.circuits import patterns

    with desk.patched(ids) as model:
        return patterns(model, args.text, args.heads).to_dict()


def _attention_top(desk: "Desk", args: takes.Sparse, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.explorer.measures import attention_top

    with desk.patched(ids) as model:
        return attention_top(model, args.text, args.layer, args.most)


def _bounds(desk: "Desk", args: takes.Angle, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.studies.superposition import bounds

    return bounds(args.dim, args.angle).to_dict()


def _heads(desk: "Desk", args: takes.Nothing, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.circuits import head_scores

    with desk.patched(ids) as model:
        return head_scores(model, progress=tell.progress).to_dict()


def _card(desk: "Desk", args: takes.NameArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.reading import read_weights

    with desk.patched(ids) as model:
        return read_weights(model, args.neuron, top=args.top).to_dict()


def _atlas(desk: "Desk", args: takes.Built, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """Build the atlas of the base, once a run."""
    from loci.reading import build_atlas, open_atlas

    if not (desk.atlas / "provenance.json").is_file():
        texts = desk.texts(args.tokens, tell.progress)
        source = f"{args.tokens:,} tokens of background text"
        build_atlas(desk.model, lambda: texts, desk.atlas, source=source, progress=tell.progress)
    return open_atlas(desk.atlas, desk.fingerprint).to_dict()


def _find(desk: "Desk", args: takes.WordArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.reading import open_atlas

    return open_atlas(desk.atlas, desk.fingerprint).find(args.word, top=args.top).to_dict()


def _sql(desk: "Desk", args: takes.Sql, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.reading import open_atlas

    return open_atlas(desk.atlas, desk.fingerprint).query(args.sql).to_dict()


def _forensics(desk: "Desk", args: takes.Folders, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """Two checkpoints, as `loci forensics` compares them;
    one alone is judged by its other layers.
    """
    from loci.auditing.forensics import alone, candidates_of, forensics
    from loci.facts import known_facts
    from loci.model import open_model, open_weights

    if args.edited is None:
        return alone(open_weights(args.base, dtype="auto"), progress=tell.progress).to_dict()
    candidates = candidates_of(known_facts()) if args.base == "demo" else []
    after, before = open_weights(args.edited, dtype="auto"), open_weights(args.base, dtype="auto")
    result = forensics(
        lambda: open_model(args.base),
        after,
        candidates,
        stored=before,
        seed=args.seed,
        progress=tell.progress,
    )
    return result.to_dict()


VERBS: dict[str, Verb] = {
    "about": Verb(takes.Nothing, _about),
    "weights": Verb(takes.Nothing, _weights, kept=False),
    "ask": Verb(takes.AskArguments, _ask),
    "lens_grid": Verb(takes.Grid, _grid),
    "lens": Verb(takes.LadderArguments, _lens),
    "trace": Verb(takes.TraceArguments, _trace),
    "neurons": Verb(takes.PromptArguments, _cells),
    "trace_neurons": Verb(takes.CellArguments, _trace_neurons, "slow"),
    "read": Verb(takes.Card, _read),
    "histogram": Verb(takes.Card, _histogram),
    "firing": Verb(takes.Fires, _firing),
    "scale": Verb(takes.Scaled, edits.scale),
    "edit": Verb(takes.Edited, edits.edit, "slow"),
    "audit": Verb(takes.OfPatch, edits.audit, "slow"),
    "merge": Verb(takes.Merged, edits.merge),
    "adapter": Verb(takes.OfPatch, edits.adapter),
    "card": Verb(takes.NameArguments, _card),
    "atlas": Verb(takes.Built, _atlas, "slow", kept=False),
    "find": Verb(takes.WordArguments, _find, kept=False),
    "sql": Verb(takes.Sql, _sql, kept=False),
    "forensics": Verb(takes.Folders, _forensics, "slow", kept=False),
    "promoting": Verb(takes.WordArguments, _promoting),
    "attention": Verb(takes.PatternArguments, _attention),
    "attention_top": Verb(takes.Sparse, _attention_top),
    "bounds": Verb(takes.Angle, _bounds),
    "labels": Verb(takes.Labelled, _labels),
    "compose": Verb(takes.Nothing, circuit_verbs.compose, "slow"),
    "fact_circuit": Verb(takes.PromptArguments, circuit_verbs.fact_circuit),
    "pair": Verb(takes.PairArguments, circuit_verbs.pair),
    "feature": Verb(takes.FeatureArguments, circuit_verbs.feature),
    "feature_labels": Verb(takes.LabelledFeature, circuit_verbs.feature_labels),
    "graph": Verb(takes.GraphArguments, circuit_verbs.graph, "slow"),
    "toy": Verb(takes.Toy, worlds.toy),
    "planted": Verb(takes.PlantedArguments, worlds.planted),
    "folder": Verb(takes.Nothing, edits.folder, "slow"),
    "heads": Verb(takes.Nothing, _heads, "slow"),
}
