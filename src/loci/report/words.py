"""The story in plain words, for the page and for the terminal alike; every number comes from the results."""

from loci.locating import KINDS, Kind, Trace
from loci.patches import short
from loci.report.story import Story
from loci.stats import Estimate

TOLD = ("efficacy", "paraphrase", "specificity", "same_subject")
AREAS: dict[Kind, str] = {"state": "the residual stream", "mlp": "an MLP", "attn": "attention"}


def trace_words(trace: Trace) -> str:
    """Where each kind of state gives most of the answer back."""
    lines = [
        f"With its subject intact the model gives “{trace.answer}” a probability of {trace.clean:.2f}. With {_hidden(trace)} "
        f"that {'falls' if trace.corrupted < trace.clean else 'rises'} to {trace.corrupted:.2f}. Then one state at a time is put back."
    ]
    if not trace.known:
        lines.insert(
            0,
            f"Mind: “{trace.answer}” is not what the model says here. It is traced all the same, but there may be little to find.",
        )
    for kind in (kind for kind in KINDS if kind in trace.grids):
        layer, token, effect = trace.peak(kind)
        lines.append(
            f"Of {AREAS[kind]}, layer {layer} at {_role(trace, token)} “{trace.tokens[token].strip()}” "
            f"gives back most: {effect:+.2f}."
        )
    lines.append("A trace tells where the answer passes. It does not tell where an edit works best; that is another experiment.")
    return "\n".join(lines)


def _hidden(trace: Trace) -> str:
    """How the subject is hidden."""
    if trace.corruption == "mean":
        return "the mean of known subjects' embeddings in its place"
    if trace.corruption == "resample":
        return f"other subjects in its place ({trace.samples} draws)"
    return f"noise on the subject's embeddings ({trace.corruption}, strength {trace.noise:g}, {trace.samples} draws)"


def _role(trace: Trace, token: int) -> str:
    start, end = trace.subject_span
    if token == end - 1:
        return "the last subject token"
    if start <= token < end:
        return "the subject token"
    return "the last token" if token == len(trace.tokens) - 1 else "the token"


def neuron_words(story: Story) -> str:
    top, (total, expected) = story.neurons.top(10), story.neurons.completeness
    ten = sum(score for *_, score in top)
    first = top[0]
    return (
        f"What the MLPs at the last subject token give back of P({story.fact.answer}) is shared out among their neurons: "
        f"{total:+.2f} in all, {expected:+.2f} when the MLPs are restored one by one. The strongest neuron, L{first[0]}N{first[1]}, has "
        f"{first[2]:+.3f} of it, the first ten together {ten:+.2f}. That every fact has a neuron of its own is an idea to be tested, and "
        "the bars are the test: what spreads over many neurons is not held by one.\n"
        "A neuron's key is what fires it, its value is what it writes; both are read below, from the training text and the weights."
    )


def edit_words(story: Story) -> str:
    patch, n = story.patch, story.patch.numbers
    (weight, factors), *_ = patch.factors.items()
    return (
        f"{patch.method.upper()} finds what the MLP of layer {patch.layers[0]} would have to say at the subject instead, and the "
        f"least change of {weight} that makes it say so: {len(factors.left)} × {factors.right.shape[1]} numbers, rank {factors.rank}, "
        f"which moves the layer's output over text by {n['output_change'][weight]:.1%}, found in {n['seconds']:.1f} s. The result is a file; the model was not touched."
    )


def audit_words(story: Story) -> str:
    case, metrics = story.audit.cases[0], story.audit.metrics
    return (
        f"The edited model answers “{case.said}”. Asked in {len(case.paraphrase)} other ways: {_hits(case.paraphrase)} follow. "
        f"{_hits(case.specificity)} neighbours and {_hits(case.same_subject)} other facts of {story.fact.subject} are answered "
        f"as before; on sentences that state no fact the next-token distribution moved by {metrics['drift_kl'].value:.2g} nats.\n"
        f"One edit is an anecdote. {story.more.edits} more, drawn by seed over {_relations(story)} relations and made one at a time: "
        + ", ".join(f"{name.replace('_', ' ')} {_percent(story.more.metrics[name])}" for name in TOLD)
        + "."
    )


def undo_words(story: Story) -> str:
    if story.reverted_bit_for_bit:
        return f"The patch was taken off again. The weights are {short(story.fingerprint)}, as before the edit: every bit is back."
    return f"The patch was taken off again, but the weights are no longer {short(story.fingerprint)}: this is a defect."


def _hits(hits: tuple[bool, ...]) -> str:
    return f"{sum(hits)} of {len(hits)}"


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.0%} [{estimate.low:.0%}, {estimate.high:.0%}]" if estimate.n else "–"


def _relations(story: Story) -> int:
    return len({case.fact.relation for case in story.more.cases})
