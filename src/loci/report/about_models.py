"""What the results about models and what they hold are, in words. See `about`."""

from typing import Any

from loci.report.about import Graded, entry, pct


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
