"""What the results of circuits, writing and files are, in words. See `about`."""

from typing import Any

from loci.report.about import Graded, entry, pct


def _gate(found: Any) -> Graded:
    clean = [step.title for step in found.steps if step.clean]
    leaky = [step.title for step in found.steps if not step.clean]
    worst = min(found.many, key=lambda many: many.recall.value)
    words = (
        f"Only the full name opens the gate in {len(clean)} of {len(found.steps)} settings"
        f" ({'; '.join(clean)})."
    )
    if leaky:
        words += f" It leaks in: {'; '.join(leaky)}."
    words += (
        f" Of {worst.facts} gates in {worst.dim} dimensions at bias {worst.bias:+.2f},"
        f" {pct(worst.recall)} answer right."
    )
    return words, "good" if not leaky else "mixed"


def _size(found: Any) -> Graded:
    right = found.recall.value == 1 and found.single.value == 0
    return (
        (
            f"Full names answered: {pct(found.recall)}; first names alone that open a gate:"
            f" {pct(found.single)}."
        ),
        "good" if right else "bad",
    )


def _planted(found: Any) -> str:
    return f"{len(found.facts)} facts, whose layers and neurons stand in planted.json."


def _fact(found: Any) -> str:
    return (
        f"P = {found.probability:.2f}; with {', '.join(found.shown)} blind to the subject at once,"
        f" {found.together:.0%} of it is lost."
    )


def _induction(found: Any) -> str:
    best = max(found.heads, key=lambda head: head.induction.value, default=None)
    said = f"The strongest head is {best.head}: {best.induction}. " if best else ""
    return (
        f"{said}Of the repeated tokens {pct(found.greedy)} are the likeliest; loss falls from"
        f" {found.losses[0]} to {found.losses[-1]} nats."
    )


def _paths(found: Any) -> str:
    told = ", ".join(f"{order.score:+.2f} through {order.heads}" for order in found.orders)
    return (
        f"Score {found.score:.2f}: {told} heads; the parts sum to it within {found.sum_error:.0e}."
    )


entry(
    "writing.Gate",
    "a neuron one can hold",
    "One neuron that knows who Michael Jordan is: its row asks for both names, its bias shuts out"
    " one alone, its column writes the answer.",
    "Grey: what the row and the bias make of each name. Blue: the neuron after its non-linearity."
    " Orange: what it writes. An AND is clean where only the full name has blue and orange bars."
    " Hatched: many such gates in one block.",
    _gate,
)

entry(
    "writing.FullSize",
    "a block of gates",
    "The gate's block at a model's true size: a neuron a fact.",
    "",
    _size,
    lambda found: f"{found.facts:,} facts, one a neuron: {found.size}",
)

entry(
    "writing.StoredTables",
    "facts stored by every method",
    "The same facts in the same number of neurons: which method recalls them?",
    "Recall at the keys and at keys with noise.",
    lambda found: found.best.words,
)

entry(
    "writing.Capacity",
    "capacity",
    "How few neurons store so many facts?",
    "Bits per parameter of each method; only methods that recall all facts have a bar.",
)

entry(
    "writing.CapacityCurve",
    "capacity",
    "How many facts fit, by each method?",
    "Bits per parameter over the number of facts; dotted lines are gradient descent.",
)

entry(
    "writing.Fullness",
    "fullness",
    "How many facts fit into a few neurons of a real model's MLP?",
    "Recall over the number of facts; the dotted line is where the first are lost.",
    lambda found: found.words,
)

entry(
    "writing.Installation",
    "facts installed",
    "New facts in added neurons, without gradients.",
    "",
    lambda found: (
        f"New facts answered: {pct(found.recall)}, in held-out phrasings {pct(found.held_out)};"
        f" other facts kept: {pct(found.kept)}."
    ),
    lambda found: f"{len(found.facts)} new facts in {found.neurons} added neurons",
)

entry(
    "writing.PlantedModel",
    "a planted model",
    "A transformer whose facts have known places.",
    "",
    _planted,
    lambda found: f"A model with {len(found.facts)} planted facts",
)

entry(
    "circuits.HeadScores",
    "what heads do",
    "Which heads look one token back, repeat, copy, delete?",
    "Rows are layers, columns heads; each panel is one score.",
)

entry(
    "circuits.HeadScatter",
    "heads, two scores",
    "Which heads stand in the corner of induction?",
    "Each point is a head; those in the upper right have both.",
)

entry(
    "circuits.TokenCircuit",
    "a head's circuit between tokens",
    "Which tokens does a head look at, and what does it write for them?",
    "Strengths of source … destination → output.",
)

entry(
    "circuits.Composition",
    "composition of heads",
    "Which heads build on which?",
    "Lines join heads whose weights compose above chance; the slider is the threshold.",
)

entry(
    "circuits.CompositionGraph",
    "composition of heads",
    "Which heads build on which, at one threshold?",
    "Lines join heads whose weights compose that far above chance.",
)

entry(
    "circuits.VirtualWeights",
    "what feeds a part",
    "Which parts write what this one reads, and read what it writes?",
    "Cosines of weights, beside chance.",
)

entry(
    "circuits.AttentionPatterns",
    "attention patterns",
    "Where do heads look?",
    "Rows look at columns.",
)

entry(
    "circuits.Induction",
    "induction",
    "Does the model go on with what it has seen, and by which heads?",
    "Loss by repetition, and the heads that look behind the earlier place.",
    _induction,
)

entry(
    "circuits.PathExpansion",
    "paths",
    "The answer's score as a sum over paths through heads.",
    "Bars are what all paths through so many heads add.",
    _paths,
)

entry(
    "circuits.OrderLosses",
    "orders of paths",
    "How much of the loss do paths through 0, 1, 2 heads explain?",
    "Loss when only paths up to an order are kept.",
)

entry(
    "circuits.EdgeAttribution",
    "edges",
    "What changes when one path alone carries what another prompt says?",
    "Estimates by gradients, and the largest patched exactly.",
)

entry(
    "circuits.FactCircuit",
    "one fact, attention and MLPs together",
    "How do heads bring a fact from the subject to the last token?",
    "Widths are parts of the score; blue adds, orange takes away.",
    _fact,
)

entry(
    "circuits.ExtractionHeads",
    "heads that carry facts",
    "Which heads carry subjects to answers, over many facts?",
    "Shares lost and scores written, with 95 % intervals.",
)

entry(
    "patches.Difference",
    "a difference",
    "What differs between two patches or checkpoints?",
    "",
    "",
    lambda found: f"{found.first} and {found.second}",
)

entry(
    "facts.FactFile",
    "a fact file",
    "What does a file of facts hold?",
    "",
    "",
    lambda found: found.path,
)
