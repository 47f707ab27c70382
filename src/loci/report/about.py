"""What each kind of result is, in words: the question, how to read its figure, and what came out.

One entry a kind; `about(result)` finds it. Entries of studies that are not about a user's model
stand in `about_studies`. A verdict is graded (good, mixed, bad) only where it can be: a trace has
nothing to pass or fail.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loci.result import Result
from loci.stats import Estimate, spelt

Graded = tuple[str, str]


@dataclass(frozen=True)
class About:
    """The words of one kind of result."""

    kind: str
    """What it is, in two or three words: the line above the heading."""
    question: str
    reading: str
    """How to read the figure."""
    verdict: Callable[[Any], Graded | str] = lambda _: ""
    heading: Callable[[Any], str] = lambda _: ""
    """Where the figure has no title of its own."""


_ENTRIES: dict[str, About] = {}
"""By the name of the class, with its room."""


def entry(
    name: str, kind: str, question: str, reading: str, verdict: Any = "", heading: Any = ""
) -> None:
    """Say what a kind of result is: `name` is its module below `loci` and its class."""
    said = verdict if callable(verdict) else lambda _: verdict
    titled = heading if callable(heading) else lambda _: heading
    _ENTRIES[name] = About(kind, question, reading, said, titled)


def key(kind: type) -> str:
    """A class by its room and name, as in "locating.Trace"; one from elsewhere by its module."""
    where = kind.__module__.split(".")
    return (
        f"{where[1] if where[0] == 'loci' and len(where) > 1 else kind.__module__}.{kind.__name__}"
    )


def about(result: Any) -> About:
    """The words for a result; of a kind without an entry, its docstring's first line."""
    found = _ENTRIES.get(key(type(result)))
    if found is not None:
        return found
    first = (type(result).__doc__ or "").strip().split("\n")[0]
    told = " ".join(result.summary()) if isinstance(result, Result) else ""
    return About(type(result).__name__, first, "", lambda _: told)


def judged(result: Any) -> Graded:
    """(words, grade) of a result's verdict."""
    said = about(result).verdict(result)
    return (said, "") if isinstance(said, str) else said


def pct(estimate: Estimate) -> str:
    """A share with its interval, in words' company."""
    return estimate.told(".0%") if estimate.n else "not measured"


def _graded(share: float, good: float, mixed: float) -> str:
    return "good" if share >= good else "mixed" if share >= mixed else "bad"


def _trace(found: Any) -> str:
    from loci.report.words import cells_words

    return cells_words(found)


def _attribution(found: Any) -> Graded | str:
    if not found.agreement:
        return "The estimate was not compared with exact tracing."
    lowest = min(found.agreement.values())
    told = ", ".join(f"{kind} {spelt(rho, '.2f')}" for kind, rho in found.agreement.items())
    words = f"Rank correlation of the estimate with exact tracing: {told}."
    return words, _graded(lowest, 0.8, 0.5)


def _average(found: Any) -> str:
    parts = []
    for kind, rows in found.effects.items():
        from loci.locating.average import ROLES

        cells = [
            (row[i], layer, role)
            for layer, row in enumerate(rows)
            for i, role in enumerate(ROLES)
            if row[i].n
        ]
        inner = [
            cell
            for cell in cells
            if kind != "state" or not cell[2].startswith("last") or cell[2] == "last subject"
        ]
        best, layer, role = max(inner or cells, key=lambda cell: cell[0].value)
        parts.append(f"{kind} at layer {layer}, {role} token: {best.told('.2f')}")
    return f"Largest on the average over {found.n} facts: " + "; ".join(parts) + "."


def _lens(found: Any) -> str:
    first = next(
        (
            rung.layer
            for rung in found.layers
            if rung.top and found.answer.startswith(rung.top[0].token.strip())
        ),
        None,
    )
    biggest = max(found.layers, key=lambda rung: max(rung.attn, rung.mlp))
    part = "the MLP" if biggest.mlp >= biggest.attn else "attention"
    ahead = (
        f"The answer is the likeliest word from layer {first} on."
        if first is not None
        else "The answer never is the likeliest."
    )
    return (
        f"{ahead} The largest step towards it is {part} of layer {biggest.layer}:"
        f" {max(biggest.attn, biggest.mlp):+.2f} of a score of {found.score:.2f}."
    )


def _neurons(found: Any) -> str:
    total, expected = found.completeness
    ten = sum(score for *_, score in found.top(10))
    doubt = f" Warning: {found.warning}." if found.warning else ""
    return (
        f"The ten strongest of {found.scores.numel():,} neurons hold {ten:+.2f} of {total:+.2f}"
        f" (expected {expected:+.2f}).{doubt}"
    )


def _knowledge(found: Any) -> str:
    return (
        f"{len(found.cells)} neurons are shared by the phrasings. Silencing them changes P(answer)"
        f" by {found.suppress.change:+.2f}, as many random ones by"
        f" {found.suppress.random.value:+.2f}; doubling them by {found.amplify.change:+.2f}."
        + (f" Warning: {found.warning}." if found.warning else "")
    )


def _routes(found: Any) -> str:
    lost = {
        name: found.all_layers[cut]
        for name, cut in (("attention to the subject", "edges"), ("MLPs at the subject", "mlp"))
    }
    return (
        "Cut in all layers: "
        + "; ".join(f"without {name} {pct(e)} of P is lost" for name, e in lost.items())
        + "."
    )


def _probe(found: Any) -> str:
    best = max(range(len(found.accuracy)), key=lambda i: found.accuracy[i].value)
    return (
        f"Best after {'the embeddings' if best == 0 else f'layer {best - 1}'}:"
        f" {pct(found.accuracy[best])} of held-out subjects; with shuffled answers"
        f" {found.shuffled[best].value:.0%}, by always saying the commonest"
        f" {found.commonest.value:.0%}."
    )


def _recall(found: Any) -> Graded:
    words = f"The model answers {pct(found.trained)} of {found.facts:,} facts"
    words += f"; in phrasings it never saw {pct(found.held_out)}." if found.held_out.n else "."
    return words, _graded(found.trained.value, 0.9, 0.5)


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
    grade = _graded(worst, 0.95, 0.8)
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
    return words, _graded(
        min(last.metrics["efficacy"].value, last.metrics["specificity"].value), 0.95, 0.8
    )


def _sweep(found: Any) -> str:
    best = max(range(len(found.efficacy)), key=lambda i: found.efficacy[i].value)
    peak = max(range(len(found.effect)), key=lambda i: found.effect[i].value)
    return (
        f"Edits take best at layer {best} ({found.efficacy[best].value:.0%}); traces are largest at"
        f" layer {peak}. Rank correlation over layers, mean over facts: {found.correlation}."
    )


def _doctor(found: Any) -> Graded:
    failed = [check.name for check in found.checks if check.passed is False]
    words = (
        f"{len(failed)} checks fail: {'; '.join(failed)}."
        if failed
        else "Every check that applies holds."
    )
    return words, "bad" if failed else "good"


def _sparsity(found: Any) -> str:
    return (
        f"{found.active.value:.1%} of the neurons are active at a token; skipping the others saves"
        f" {found.saved.value:.0%} of the MLPs' FLOPs."
    )


def _memories(found: Any) -> str:
    return (
        "Layers that lean on the last token (shallow):"
        f" {', '.join(map(str, found.shallow)) or 'none'}; on more (semantic):"
        f" {', '.join(map(str, found.semantic)) or 'none'}."
    )


def _directions(found: Any) -> str:
    if len(found.pairs) < 2:
        return (
            "One pair has a direction, but nothing to be compared with: give several for alignment"
            " and analogies."
        )
    return (
        f"Cosine between the pairs' differences {found.alignment}, with shuffled partners"
        f" {found.shuffled}; held-out analogies solved {pct(found.analogy)}, without a direction"
        f" {pct(found.without)}."
    )


def _concepts(found: Any) -> str:
    told = (
        f"{share:.0%} of “{text}”" for text, share in zip(found.texts, found.explained, strict=True)
    )
    chance = sum(found.random) / max(1, len(found.random))
    return f"The concepts explain {', '.join(told)}; by chance {chance:.0%}."


HEAT = (
    "Rows are tokens (* the subject), columns are layers; the darker the blue, the more of"
    " P(answer) that one clean state brings back."
)

entry(
    "locating.Trace",
    "a causal trace",
    "The subject is hidden, then one clean state at a time is put back: where does the answer"
    " return?",
    HEAT,
    _trace,
)
entry(
    "locating.Attribution",
    "an estimated trace",
    "The effects of putting clean states back, estimated by gradients instead of run one by one.",
    HEAT,
    _attribution,
)
entry(
    "locating.AverageTrace",
    "an average trace",
    "Causal traces of many facts, averaged by the role of the token.",
    HEAT,
    _average,
)
entry(
    "locating.NeuronTrace",
    "a trace of neurons",
    "Single neurons of one MLP are put back in a run with the subject hidden.",
    "Each bar is what one neuron brings back of P(answer) by itself.",
)
entry(
    "locating.Neurons",
    "neurons behind an answer",
    "What the MLPs at the subject give to the answer, shared out among their neurons by integrated"
    " gradients.",
    "Blue bars speak for the answer, orange ones against it.",
    _neurons,
)
entry(
    "locating.KnowledgeNeurons",
    "knowledge neurons",
    "Which neurons do all phrasings of a fact share, and what happens when they are silenced or"
    " doubled?",
    "The fact's neurons beside as many random and equally active ones; a claim needs the blue bars"
    " to stand apart.",
    _knowledge,
)
entry(
    "locating.Located",
    "several methods, one fact",
    "Do cheap methods of locating agree where a fact is?",
    "Each strip is one method over the layers, scaled to its own largest; darker is more. Columns"
    " that are dark in all strips of a site are where the methods agree.",
    lambda found: found.words,
)
entry(
    "locating.Lens",
    "a lens",
    "What would the model say if it stopped after each layer, and which part put the answer there?",
    "Above: how likely the answer is after each layer. Below: what attention (orange) and the MLP"
    " (blue) add to its score.",
    _lens,
)
entry(
    "locating.Routes",
    "routes of recall",
    "What does recalling a fact need: attention to the subject, MLPs at the subject, attention at"
    " the last token?",
    "Each line is what is lost of P(answer) when one thing is cut at one layer.",
    _routes,
)
entry(
    "locating.Probe",
    "a probe",
    "From which layer on can the answers be read off the last token of the subject?",
    "Accuracy on subjects that the probe never saw, beside shuffled answers: only the distance"
    " between the two counts.",
    _probe,
)
entry(
    "locating.Lookup",
    "is it a look-up?",
    "Is an answer looked up at the name in one step, or gathered over layers?",
    "Each panel is one test; the words below say what it shows.",
    lambda found: found.words,
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
entry(
    "model.Census",
    "a census",
    "How much of a model is MLP?",
    "Bars are parameters by part.",
    lambda found: (
        f"{found.mlp_share:.0%} of {found.total:,} {found.unit} are MLP weights; each layer asks"
        f" {found.questions:,} questions of every token."
    ),
)
entry(
    "model.Diagnosis",
    "the doctor",
    "Is Loci right about this model?",
    "Each claim is measured on the model itself; the error must be within what is allowed.",
    _doctor,
    lambda found: f"Is Loci right about {found.model}?",
)
entry(
    "reading.NeuronCard",
    "a neuron",
    "What does a neuron look for (its key), and what does it write (its value)?",
    "Marked tokens fire it. Blue tokens are promoted when it fires, orange ones suppressed.",
    lambda found: f"It fires at {found.fires}; key and value have a cosine of {found.cosine:+.2f}.",
    lambda found: found.name,
)
entry(
    "reading.Atlas",
    "an atlas",
    "All neurons of a model at a glance.",
    "Points are neurons; dead, always-on and erasing ones stand out.",
)
entry(
    "reading.Memories",
    "keys and values",
    "What do keys need of their triggers, and do values say what follows?",
    "Shares by layer with 95 % intervals; the dotted line is chance where there is one.",
    _memories,
)
entry(
    "reading.Clusters",
    "clusters of values",
    "Which neurons write similar things?",
    "Each row is a cluster and the words it promotes.",
    lambda found: (
        f"Silhouette {found.quality}, against {found.control} for Gaussian vectors of the same"
        " covariance."
    ),
)
entry(
    "reading.SubUpdates",
    "which memories speak",
    "Which neurons write most after a prompt?",
    "Bars are |coefficient| · ‖value‖ of the largest in each layer. Size is not use.",
)
entry(
    "reading.Sparsity",
    "sparsity",
    "How many neurons are active, and may the others be skipped?",
    "Shares of active neurons by layer, and the tokens with most and fewest.",
    _sparsity,
)
entry(
    "reading.Bases",
    "privileged bases",
    "Are the axes of a space special?",
    "Excess kurtosis of the coordinates beside the same vectors in random rotations: only a"
    " distance between the two makes a basis special.",
)
entry(
    "reading.Directions",
    "directions",
    "Do pairs of words differ in one direction, and does it solve analogies it did not see?",
    "Cosines between the pairs' differences: dark blue off the diagonal is a shared direction.",
    _directions,
)
entry(
    "reading.Steered",
    "steering",
    "What does adding a direction do to what is said?",
    "Probabilities before and after, beside a random direction of the same length.",
)
entry(
    "reading.Concepts",
    "concepts in a text",
    "How much of each concept is in a text, and how much is in none?",
    "Coefficients by text and concept.",
    _concepts,
)
