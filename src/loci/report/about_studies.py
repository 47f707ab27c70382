"""What the results of studies are, in words: circuits, facts written, directions that fit. See
`about`.
"""

from typing import Any

from loci.report.about import entry, pct


def _phase(found: Any) -> str:
    return (
        f"Training ends where the closed form says in {pct(found.agreement)} of {found.agreement.n}"
        " cells."
    )


def _small(found: Any) -> str:
    return (
        f"Loss {found.last.loss.value:.3f} after {found.last.step:,} steps; late − early"
        f" {found.last.in_context}."
    )


def _history(found: Any) -> str:
    told = (
        f"{small.recipe.layers} layer{'s' * (small.recipe.layers != 1)}: late − early"
        f" {small.last.in_context}, prefix matching {small.last.best_induction:.2f}"
        for small in found.models
    )
    return "At the end, " + "; ".join(told) + "."


def _bigrams(found: Any) -> str:
    return (
        f"The model loses {found.loss:.4f} nats on the text's pairs; the exact table"
        f" {found.entropy:.4f}; mean KL {found.above:.4f}."
    )


def _interference(found: Any) -> str:
    told = (f"{curve.kind}: every set of {curve.for_all}" for curve in found.curves)
    return f"Guaranteed to be read back by a threshold: {'; '.join(told)}."


entry(
    "studies.SmallModel",
    "a small model",
    "An attention-only model, trained from nothing.",
    "Loss, in-context learning and heads over training.",
    _small,
)
entry(
    "studies.TrainingHistory",
    "a phase change",
    "Do in-context learning and prefix matching change together?",
    "The curves of two layers turn at the same steps; one layer's do not.",
    _history,
)
entry(
    "studies.BigramTable",
    "bigrams",
    "Is a model without layers its text's table of bigrams?",
    "Left the text's table, right the model's: they should look alike.",
    _bigrams,
)
entry(
    "studies.SkipTrigrams",
    "skip-trigrams",
    "What does each head move from verbs to nouns?",
    "Logits over the mean noun, by head.",
)
entry(
    "studies.SkipTrigramBug",
    "the bug of factored heads",
    "Why must one head confuse two frames, and what can four do?",
    "What heads move from verbs to nouns, and how likely the right and the crossed noun are.",
)
entry(
    "studies.TwoLayerInduction",
    "induction heads",
    "Which heads find what came after the earlier place, and with whom do they compose?",
    "Heads in the upper right have both eigenvalue shares positive; bars say what silencing the"
    " previous-token head costs.",
)
entry(
    "studies.HeadSizes",
    "head size",
    "The same stream cut into heads of 1, 2, 4, 16 and 64 dimensions.",
    "Each line or bar is one way of cutting.",
)
entry(
    "studies.OptimizerBases",
    "privileged bases",
    "Do coordinates stand out: Adam against plain SGD?",
    "Kurtosis over training, beside the same vectors in a random rotation.",
)
entry(
    "studies.Bounds",
    "bounds",
    "How many directions fit?",
    "Green side exists, red side cannot; between them nobody knows.",
)
entry(
    "studies.BoundsTable",
    "bounds",
    "How many directions fit, by angle?",
    "Logarithms of the number of lines; no method passes the upper line.",
)
entry(
    "studies.BestAngles",
    "reach",
    "How far apart can so many directions be?",
    "Degrees between the nearest two: a random draw, what is possible, the limit.",
)
entry(
    "studies.VerifiedCode",
    "an explicit code",
    "Directions that can be written down.",
    "What the code promises, and what verification found.",
)
entry(
    "studies.Packing",
    "a packing",
    "Directions pushed apart.",
    "Angles before and after, with the limit.",
    lambda found: f"The nearest two are {found.closest:.2f}° apart, {found.drawn:.2f}° before.",
)
entry(
    "studies.VideoExperiment",
    "the famous picture",
    "What is wrong with ten thousand nearly perpendicular vectors in a hundred dimensions?",
    "Histograms of angles: as shown, and pushed apart honestly.",
    lambda found: f"{found.twins:.0%} of the vectors as shown have a twin.",
)
entry(
    "studies.ToyModels",
    "a toy model",
    "When does a network put features into superposition?",
    "Each panel is a density of features: bars are lengths, colours how much others share.",
)
entry(
    "studies.FeatureGeometry",
    "geometry",
    "Which shapes do features in superposition take?",
    "Dimensions a feature, over density; plateaus are polytopes.",
)
entry(
    "studies.PhaseDiagram",
    "a phase diagram",
    "When is a feature dropped, kept alone, or shared?",
    "Left what training finds, right the closed form.",
    _phase,
)
entry(
    "studies.CorrelatedFeatures",
    "correlated features",
    "What do features that come together do?",
    "Cosines of features, by the way they come.",
)
entry(
    "studies.AbsoluteValueNetworks",
    "computing in superposition",
    "Can few neurons compute many absolute values?",
    "Weights of neurons by feature.",
)
entry(
    "studies.Vulnerability",
    "attacks",
    "Does superposition make a model easier to fool?",
    "Vulnerability over features a dimension.",
)
entry(
    "studies.Interference",
    "interference",
    "How many features can be read at the same time?",
    "Share of random sets read back whole, over their size.",
    _interference,
)
entry(
    "studies.WeightAngles",
    "directions in weights",
    "How are the directions of a real model spread?",
    "Angles to the nearest other, beside random vectors.",
)
