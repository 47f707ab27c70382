"""The story in plain words, for the page and for the terminal alike; every number comes from the
results.
"""

from loci.auditing.metrics import short
from loci.locating.trace_words import TIE
from loci.patches import short as short_hash
from loci.report.story import Story
from loci.stats import Estimate

TOLD = ("efficacy", "paraphrase", "specificity", "same_subject")


def neuron_words(story: Story) -> str:
    top, (total, expected) = story.neurons.top(10), story.neurons.completeness
    ten = sum(score for *_, score in top)
    first = top[0]
    return (
        f"What the MLPs at the last subject token give back of P({story.fact.answer}) is shared out"
        f" among their neurons: {total:+.2f} in all, {expected:+.2f} when the MLPs are restored one"
        f" by one.{_more_than_lost(story)} The strongest neuron, L{first[0]}N{first[1]}, has"
        f" {first[2]:+.3f} of it, the first ten together {ten:+.2f}. That every fact has a neuron"
        " of its own is an idea to be tested, and the bars are the test: what spreads over many"
        " neurons is not held by one.\nA neuron's key is what fires it, its value is what it"
        " writes; both are read below, from the training text and the weights."
    )


def _more_than_lost(story: Story) -> str:
    """Why parts may give back more than was lost."""
    lost, (_, expected) = story.trace.clean - story.trace.corrupted, story.neurons.completeness
    if expected <= lost + TIE:
        return ""
    return (
        f" Hiding the subject took {lost:.2f}; the sum is larger, as each MLP is restored alone and"
        " what several layers can give back counts in each."
    )


def edit_words(story: Story) -> str:
    patch, n = story.patch, story.patch.numbers
    (weight, factors), *_ = patch.factors.items()
    return (
        f"{patch.method.upper()} finds what the MLP of layer {patch.layers[0]} would have to say at"
        f" the subject instead, and the least change of {weight} that makes it say so:"
        f" {len(factors.left)} × {factors.right.shape[1]} numbers, rank {factors.rank}, which moves"
        f" the layer's output over text by {n['output_change'][weight]:.1%}, found in"
        f" {n['seconds']:.1f} s. The result is a file; the model was not touched."
    )


def audit_words(story: Story) -> str:
    case, metrics = story.audit.cases[0], story.audit.metrics
    return (
        f"The edited model answers “{case.said}”. Asked in {len(case.paraphrase)} other ways:"
        f" {_hits(case.paraphrase)} follow. {_hits(case.specificity)} neighbours and"
        f" {_hits(case.same_subject)} other facts of {story.fact.subject} are answered as before;"
        " on sentences that state no fact the next-token distribution moved by"
        f" {metrics['drift_kl'].value:.2g} nats.\nOne edit is an anecdote. {story.more.edits} more,"
        f" drawn by seed over {_relations(story)} relations and made one at a time: "
        + ", ".join(f"{short(name)} {_percent(story.more.metrics[name])}" for name in TOLD)
        + "."
    )


def undo_words(story: Story) -> str:
    weights = short_hash(story.fingerprint)
    if story.reverted_bit_for_bit:
        return (
            f"The patch was taken off again. The weights are {weights}, as before the edit: every"
            " bit is back."
        )
    return (
        f"The patch was taken off again, but the weights are no longer {weights}: this is a defect."
    )


def _hits(hits: tuple[bool, ...]) -> str:
    return f"{sum(hits)} of {len(hits)}"


def _percent(estimate: Estimate) -> str:
    return estimate.told(".0%")


def _relations(story: Story) -> int:
    return len({case.fact.relation for case in story.more.cases})
