"""Reports of audits and of forensics: figure, all numbers with their intervals, and every case."""

from html import escape

from loci.auditing import Scorecard
from loci.auditing.forensics import Forensics, Subject, WeightChange
from loci.auditing.metrics import label, short, told
from loci.auditing.questions import EditCase
from loci.auditing.scorecard import PROTOCOL
from loci.deprecated import renamed_arguments
from loci.figures.outside import as_text
from loci.figures.scorecard import scorecard_figure
from loci.report.frame import figure, frame, section, table, verdict
from loci.stats import Estimate
from loci.tables import sentences

COUNTED = ("paraphrase", "specificity", "same_subject")


def scorecard_page(card: Scorecard) -> str:
    """The report of an audit."""
    edits = f"{card.edits} {card.method} edit{'s' * (card.edits != 1)}"
    left_out = "\n".join(
        f"{name} is not there, or not for all edits: {why}" for name, why in card.left_out.items()
    )
    changed = sum(len(case.changed) for case in card.cases)
    cases = sorted(card.cases, key=lambda case: (all(case.efficacy), -len(case.changed)))
    sections = [
        section(
            "The scorecard",
            "Dots are the edit, lines their 95 % intervals, open marks below them the controls. All"
            " shares should be high: amber is below 95 %, red below 80 %.",
            figure(card, titled=False, drawn=scorecard_figure(as_text(card), table=False)),
        ),
        section(
            "All numbers",
            left_out,
            table(["", "value", "95 % interval", "n", *card.controls], _numbers(card)),
        ),
        section(
            "Every case",
            f"{changed} answer{'s' * (changed != 1)} that should have stayed did not.",
            table(
                [
                    "asked",
                    "was",
                    "wanted",
                    "says",
                    "P(wanted)",
                    *map(short, COUNTED),
                    "said differently now",
                ],
                list(map(_case, cases)),
                [not all(case.efficacy) for case in cases],
            ),
        ),
    ]
    intro = (
        f"{escape(edits)}, layer {', '.join(map(str, card.layers))}, asked by free generation: an"
        " answer counts only in full. The reference is the untouched model, whose answers were"
        " written down first."
    )
    said = verdict(" ".join(sentences(card.summary())), card.grade())
    intro = f"<p>{intro}</p>{said}"
    made = f"model {card.model} · BOS {'on' if card.bos else 'off'} · protocol {PROTOCOL}"
    return frame(
        f"audit of {edits}", escape(f"What did {edits} do?"), "an audit", intro, sections, made
    )


def _numbers(card: Scorecard) -> list[list[str]]:
    """A row a metric; a control's cell has its interval too."""
    rows = []
    for name, estimate in card.metrics.items():
        beside = [
            _between(name, metrics[name]) if name in metrics else "–"
            for metrics in card.controls.values()
        ]
        between = (
            f"{told(name, estimate.low)} … {told(name, estimate.high)}"
            if estimate.low == estimate.low
            else ""
        )
        rows.append([label(name), told(name, estimate.value), between, str(estimate.n), *beside])
    return rows


def _between(name: str, estimate: Estimate) -> str:
    if not estimate.n:
        return "–"
    if estimate.low != estimate.low:
        return told(name, estimate.value)
    return f"{told(name, estimate.value)} [{told(name, estimate.low)}, {told(name, estimate.high)}]"


def _case(case: EditCase) -> list[str]:
    fact = case.fact
    counted = (
        f"{sum(hits)} of {len(hits)}" if (hits := case.hits.get(name, ())) else "–"
        for name in COUNTED
    )
    return [
        fact.text,
        fact.answer,
        fact.new_answer or "",
        case.said,
        f"{case.probability:.2f}",
        *counted,
        "; ".join(case.changed),
    ]


@renamed_arguments(found="result")
def forensics_page(result: Forensics) -> str:
    """The report of a comparison of two checkpoints."""
    changes = sorted(result.weights, key=lambda change: -change.relative)
    sections = [
        section("What changed", _searched(result), figure(result, titled=False, noted=False)),
        section(
            "Weights",
            f"{len(changes)} of {result.compared} parameters differ.",
            table(
                [
                    "weight",
                    "shape",
                    "‖Δ‖ / ‖W‖",
                    "rank",
                    "of",
                    "largest σ",
                    "numbers that differ",
                    "kind",
                ],
                list(map(_change, changes)),
            ),
        ),
    ]
    if result.searched:
        names = ["subject", "score", "share", "found", "likely new answers", "the change writes"]
        sections.append(
            section(
                "Candidates", _scored(result), table(names, list(map(_subject, result.subjects)))
            )
        )
    lines = result.extras.lines(result.base, result.edited)
    if lines:
        sections.append(section("Beside the weights", "\n".join(lines)))
    heading = f"What happened between {escape(result.base)} and {escape(result.edited)}?"
    told = f"threshold {result.threshold:g} · seed {result.seed}"
    asked = (
        "<p>Two checkpoints are compared, weight by weight; where MLPs changed, candidates are"
        " judged for whom the change is about.</p>"
    )
    return frame(
        f"forensics of {result.edited}",
        heading,
        "forensics",
        asked + verdict(result.verdict),
        sections,
        told,
    )


def _searched(result: Forensics) -> str:
    if not result.searched:
        return "No candidates were judged."
    return (
        f"Candidates were judged by {', '.join(result.searched)}; these could hold at most"
        f" {result.directions} of them."
    )


def _scored(result: Forensics) -> str:
    return (
        f"{len(result.suspected)} of {len(result.subjects)} candidates stand out by a score of"
        f" {result.threshold:g} or more: robust deviations from the others, of how much of a"
        " candidate's key lies in the directions of the change."
    )


def _change(change: WeightChange) -> list[str]:
    kind = (
        "rounding"
        if change.rounding
        else "most directions: training"
        if change.full
        else "few directions"
    )
    largest = f"{float(change.values[0]):.3g}"
    shape = " × ".join(map(str, change.shape))
    return [
        change.name,
        shape,
        f"{change.relative:.3g}",
        str(change.rank),
        str(len(change.values)),
        largest,
        f"{change.entries:.1%}",
        kind,
    ]


def _subject(subject: Subject) -> list[str]:
    said = "; ".join(
        f"{answer.prompt} {answer.old} → {answer.new}"
        for answer in subject.answers
        if answer.changed
    )
    writes = ", ".join(token.strip() for token in subject.writes)
    return [
        subject.subject,
        f"{subject.score:.1f}",
        f"{subject.share:.2f}",
        "yes" if subject.edited else "",
        said,
        writes,
    ]
