"""The story in plain words, for the page and for the terminal alike; every number comes from the
results.
"""

from loci.locating import KINDS, Kind, Trace
from loci.patches import short
from loci.report.story import Story
from loci.stats import Estimate

TOLD = ("efficacy", "paraphrase", "specificity", "same_subject")
MOST_LISTED = 5
TIE = 0.02
"""Effects that differ by less are told as ties: so far a second draw of the noise moves them."""
AREAS: dict[Kind, str] = {"state": "the residual stream", "mlp": "an MLP", "attn": "attention"}


def trace_words(trace: Trace) -> str:
    """What was done, and where states give the answer back."""
    lines = [
        f"With its subject intact the model gives “{trace.answer}” a probability of"
        f" {trace.clean:.2f}. With {_hidden(trace)} that"
        f" {'falls' if trace.corrupted < trace.clean else 'rises'} to {trace.corrupted:.2f}. Then"
        " one state at a time is put back."
    ]
    if not trace.known:
        lines.insert(
            0,
            f"Mind: “{trace.answer}” is not what the model says here. It is traced all the same,"
            " but there may be little to find.",
        )
    lines += cells_words(trace).splitlines()
    lines.append(
        "A trace tells where the answer passes. It does not tell where an edit works best; that is"
        " another experiment."
    )
    return "\n".join(lines)


def cells_words(trace: Trace) -> str:
    """The cells that say something: where the subject's state carries the answer, where the last
    token takes over, which sub-layers.

    The last token's state after the last layer gives everything back by construction, so it is not
    counted.
    """
    lines = [_state_words(trace)] if "state" in trace.grids else []
    for kind in (kind for kind in KINDS if kind in trace.grids and kind != "state"):
        layer, token, effect = trace.peak(kind)
        lines.append(
            f"Of {AREAS[kind]}, layer {layer} at {_at(trace, token)} gives back most:"
            f" {effect:+.2f}{_ties(trace, kind)}."
        )
    return "\n".join(lines)


def _state_words(trace: Trace) -> str:
    """How far up the subject's tokens carry the answer, and from which layer on the last token
    does.
    """
    grid, (start, end), last = trace.grids["state"], trace.subject_span, len(trace.tokens) - 1
    inside = grid[:, start:end]
    layer, offset = divmod(int(inside.argmax()), end - start)
    most = float(inside[layer, offset])
    alike = [i for i in range(len(grid)) if float(grid[i, start + offset]) >= most - TIE]
    words = (
        f"The state at {_at(trace, start + offset)} gives back {most:+.2f} after {_layers(alike)}"
    )
    taken = next(
        (i for i in range(len(grid)) if float(grid[i, last]) > float(inside[i].max())), None
    )
    if last < end or taken is None:
        return words + "."
    at = f"; from layer {taken} on the last token carries more ({float(grid[taken, last]):+.2f})"
    return (
        words
        + (
            at
            if taken < len(grid) - 1
            else "; the last token carries more only after the last layer, where it must"
        )
        + "."
    )


def _ties(trace: Trace, kind: Kind) -> str:
    """Other cells that give back as much, within `TIE`."""
    grid = trace.grids[kind]
    layer, token, effect = trace.peak(kind)
    near = (
        [(i, j) for i, j in (grid >= effect - TIE).nonzero().tolist() if (i, j) != (layer, token)]
        if effect > 2 * TIE
        else []
    )
    told = "; ".join(f"layer {i} at {_at(trace, j)}" for i, j in near[:3])
    return (
        f" (as much, within {TIE}: {told}{f' and {len(near) - 3} more' if len(near) > 3 else ''})"
        if near
        else ""
    )


def _at(trace: Trace, token: int) -> str:
    return f"{_role(trace, token)} “{trace.tokens[token].strip()}”"


def _layers(layers: list[int]) -> str:
    """Layers as people say them: "layer 3", "layers 0 to 3", "layers 0, 2"."""
    if len(layers) == 1:
        return f"layer {layers[0]}"
    whole = layers == list(range(layers[0], layers[-1] + 1))
    if not whole and len(layers) > MOST_LISTED:
        return f"{len(layers)} layers from {layers[0]} to {layers[-1]}"
    return (
        f"layers {layers[0]} to {layers[-1]}" if whole else f"layers {', '.join(map(str, layers))}"
    )


def _hidden(trace: Trace) -> str:
    """How the subject is hidden."""
    if trace.corruption == "mean":
        return "the mean of known subjects' embeddings in its place"
    if trace.corruption == "resample":
        return f"other subjects in its place ({trace.samples} draws)"
    return (
        f"noise on the subject's embeddings ({trace.corruption}, strength {trace.noise:g},"
        f" {trace.samples} draws)"
    )


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
        + ", ".join(
            f"{name.replace('_', ' ')} {_percent(story.more.metrics[name])}" for name in TOLD
        )
        + "."
    )


def undo_words(story: Story) -> str:
    if story.reverted_bit_for_bit:
        return (
            f"The patch was taken off again. The weights are {short(story.fingerprint)}, as before"
            " the edit: every bit is back."
        )
    return (
        f"The patch was taken off again, but the weights are no longer {short(story.fingerprint)}:"
        " this is a defect."
    )


def _hits(hits: tuple[bool, ...]) -> str:
    return f"{sum(hits)} of {len(hits)}"


def _percent(estimate: Estimate) -> str:
    return estimate.told(".0%")


def _relations(story: Story) -> int:
    return len({case.fact.relation for case in story.more.cases})
