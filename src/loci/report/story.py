"""One fact the whole way: traced, read, edited, audited, undone.

1. Trace: which states carry the answer.
2. Neurons: which of them hold it, and what each looks for and writes.
3. Edit: a patch that gives another answer, made without touching the model.
4. Audit: what the patch does, for this fact and for more edits of the same kind.
5. Undo: the weights after the edit, compared with those before, bit for bit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loci.auditing import Scorecard, audit, audit_method
from loci.editing.edit import edit
from loci.facts import Fact, FactSet
from loci.figures import Ladder
from loci.locating import Neurons, Trace, neuron_attribution, trace
from loci.model import Model, next_tokens
from loci.patches import Patch
from loci.reading import NeuronCard, read_many
from loci.result import Result
from loci.text import sample_text

Stage = Callable[[str], None]
READING_TOKENS = 60_000


@dataclass(frozen=True)
class Story(Result):
    """Everything that was found out about one fact."""

    model: str
    fingerprint: str
    fact: Fact
    trace: Trace
    neurons: Neurons
    cards: tuple[NeuronCard, ...]
    patch: Patch
    ladder: Ladder
    audit: Scorecard
    more: Scorecard
    """Other edits, one at a time, on the untouched base."""
    reverted_bit_for_bit: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.demo/1",
            "trace": self.trace.to_dict(),
            "neurons": self.neurons.to_dict(),
            "edit": edit_summary(self.patch),
            "audit": self.audit.to_dict(),
            "more": self.more.to_dict(),
            "reverted_bit_for_bit": self.reverted_bit_for_bit,
            "seconds": self.seconds,
        }


def edit_summary(patch: Patch, path: str | None = None) -> dict[str, Any]:
    """An edit and its report as one JSON document for people."""
    report = patch.report
    return {
        "schema": "loci.edit/1",
        "method": patch.method,
        "layers": patch.layers,
        "edits": len(patch.facts),
        "patch": path or patch.id,
        "seconds": patch.numbers["seconds"],
        "text": patch.numbers.get("text"),
        **(report.to_dict() if report is not None else {}),
        "numbers": {name: value for name, value in patch.numbers.items() if name != "report"},
    }


def tell(
    model: Model,
    fact: Fact,
    world: FactSet,
    *,
    more: int = 20,
    seed: int = 0,
    stage: Stage = lambda _: None,
) -> Story:
    """Take `fact` (with a new answer) the whole way, and `more` seeded edits through the audit.
    `stage` hears of each step.
    """
    started = time.perf_counter()
    before = model.fingerprint
    stage("tracing where the answer comes from")
    traced = trace(model, fact, seed=seed)
    stage("finding the neurons behind it")
    cells = neuron_attribution(model, fact, seed=seed)
    stage("reading the strongest neurons")
    best = [(layer, neuron) for layer, neuron, _ in cells.top(3)]
    cards = read_many(model, best, sample_text(model, READING_TOKENS), top=6)
    stage("making the edit")
    patch = edit(model, [fact])
    stage("auditing it")
    states = {"base": dict(next_tokens(model, fact.text))}
    with patch.applied(model):
        states["edited"] = dict(next_tokens(model, fact.text))
    states["undone"] = dict(next_tokens(model, fact.text))
    card = audit(model, patch, world, seed=seed)
    stage(f"auditing {more} more edits, each on the untouched base")
    others = audit_method(model, world, more, seed=seed)
    return Story(
        model=model.name,
        fingerprint=before,
        fact=fact,
        trace=traced,
        neurons=cells,
        cards=tuple(cards),
        patch=patch,
        ladder=Ladder(fact.text, states),
        audit=card,
        more=others,
        reverted_bit_for_bit=model.fingerprint == before,
        seconds=time.perf_counter() - started,
    )
