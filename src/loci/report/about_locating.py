"""What the results of locating are, in words. See `about`."""

from typing import Any

from loci.report.about import Graded, entry, graded, pct
from loci.stats import spelt


def _trace(found: Any) -> str:
    from loci.report.words import cells_words

    return cells_words(found)


def _attribution(found: Any) -> Graded | str:
    if not found.agreement:
        return "The estimate was not compared with exact tracing."
    lowest = min(found.agreement.values())
    told = ", ".join(f"{kind} {spelt(rho, '.2f')}" for kind, rho in found.agreement.items())
    words = f"Rank correlation of the estimate with exact tracing: {told}."
    return words, graded(lowest, 0.8, 0.5)


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
