"""What the results of audits are, in words. See `about`."""

from typing import Any

from loci.report.about import Graded, entry, graded, pct


def _recall(found: Any) -> Graded:
    words = f"The model answers {pct(found.trained)} of {found.facts:,} facts"
    words += f"; in phrasings it never saw {pct(found.held_out)}." if found.held_out.n else "."
    return words, graded(found.trained.value, 0.9, 0.5)


def scorecard_verdict(card: Any) -> Graded:
    """Did the edits take, and did they leave the rest alone?"""
    metrics = card.metrics
    took, stayed = metrics["efficacy"], metrics["specificity"]
    words = f"{took.value:.0%} of what was to change is said now (n = {took.n})."
    if stayed.n:
        words += f" {stayed.value:.0%} of the neighbours' answers stayed (n = {stayed.n})."
    if metrics.get("paraphrase") and metrics["paraphrase"].n:
        words += f" In other words it holds in {metrics['paraphrase'].value:.0%}."
    worst = min([took.value, *([stayed.value] if stayed.n else [])])
    grade = graded(worst, 0.95, 0.8)
    closing = {
        "good": "It took, and little else moved.",
        "mixed": "Look at what failed or moved below.",
        "bad": "Do not ship this.",
    }
    return f"{words} {closing[grade]}", grade


def _curves(found: Any) -> Graded:
    last = found.points[-1]
    words = (
        f"After {last.edits} edits: efficacy {pct(last.metrics['efficacy'])}, specificity"
        f" {pct(last.metrics['specificity'])}."
        + (f" Stopped: {found.stopped}." if found.stopped else "")
    )
    return words, graded(
        min(last.metrics["efficacy"].value, last.metrics["specificity"].value), 0.95, 0.8
    )


def _sweep(found: Any) -> str:
    best = max(range(len(found.efficacy)), key=lambda i: found.efficacy[i].value)
    peak = max(range(len(found.effect)), key=lambda i: found.effect[i].value)
    return (
        f"Edits take best at layer {best} ({found.efficacy[best].value:.0%}); traces are largest at"
        f" layer {peak}. Rank correlation over layers, mean over facts: {found.correlation}."
    )


entry(
    "auditing.FeatureEdits",
    "edits by features",
    "Can a fact be edited by features instead of weights?",
    "All edits are asked the same. Features act on every text for as long as they are set.",
)

entry(
    "auditing.Recall",
    "recall",
    "Which of the facts does the model answer, by free generation and in full?",
    "Dots are shares with 95 % intervals.",
    _recall,
)

entry(
    "auditing.Discovery",
    "facts a model knows",
    "Which facts of a file does the model know, by free generation in one phrasing at least?",
    "Dots are shares with 95 % intervals, the best known relation first.",
    lambda found: (
        f"It knows {found.known:,} of {found.asked:,} facts, asked by {found.prompts:,} prompts."
    ),
)

entry(
    "auditing.Replies",
    "questions asked",
    "What does the model say, how sure is it, and what else might it have said?",
    "",
    lambda found: (
        f"New answers said: {pct(found.new)}; old ones: {pct(found.old)}." if found.new.n else ""
    ),
    lambda found: f"{len(found.replies)} questions to {found.model}",
)

entry(
    "auditing.SequentialAudit",
    "edits one after another",
    "What do many edits do to the first ones, to the neighbours and to the text?",
    "Lines should stay high (shares) and flat (drift, perplexity).",
    _curves,
)

entry(
    "auditing.Sweep",
    "where to edit",
    "Does the trace tell at which layer an edit works?",
    "Two lines over the layers: how often an edit there takes, and how much a trace there gives"
    " back.",
    _sweep,
)

entry(
    "auditing.SingleCheckpoint",
    "one checkpoint, without its base",
    "Does a layer stand out from the line through the others?",
    "Orange points stand out by the threshold.",
    lambda found: found.verdict,
)

entry(
    "auditing.GroundTruth",
    "locating against the truth",
    "In a model whose facts have known places: which method finds them?",
    "Bars are shares of facts at the right layer and token, and precision and recall of neurons.",
)
