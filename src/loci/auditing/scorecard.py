"""The result of an audit: metrics with intervals, the cases behind them, and controls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from loci.auditing.metrics import CONTROL_NAMES, METRICS, interval, short, told
from loci.auditing.questions import EditCase
from loci.result import About, Grade, Result, graded
from loci.stats import Estimate, share
from loci.tables import Table, columns

PROTOCOL = "greedy-full/3"


GOOD, MIXED = 0.95, 0.8
"""Least shares of a good and of a mixed audit."""
LOW = {
    "efficacy": "not every new answer is said",
    "paraphrase": "not in all other words",
    "specificity": "other subjects moved",
    "same_subject": "the subject's other facts moved",
}
"""The shares that a verdict stands on, and what is said of one that is not good."""


Metrics = dict[str, Estimate]


@dataclass(frozen=True)
class Scorecard(Result):
    """Metrics over edits, with intervals, the cases behind them, and the same metrics of the
    controls."""

    about: ClassVar[About] = About(
        "an audit",
        "What did the edits do, and what else did they touch?",
        "Dots are the edit, lines their 95 % intervals, open marks below them the controls. All"
        " shares should be high: amber is below 95 %, red below 80 %.",
        "scorecard.scorecard_figure",
    )

    model: str
    bos: bool
    method: str
    edits: int
    layers: tuple[int, ...]
    metrics: Metrics
    cases: tuple[EditCase, ...]
    controls: Mapping[str, Metrics] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Controls that could not be made for every edit, and why."""

    @property
    def failed(self) -> list[EditCase]:
        """The edits whose prompt does not get the new answer."""
        return [case for case in self.cases if not all(case.efficacy)]

    @property
    def said(self) -> Estimate:
        """Share of the edits whose new answer is said."""
        return share([all(case.efficacy) for case in self.cases])

    def title(self) -> str:
        layers = ", ".join(map(str, self.layers))
        return f"{self.edits} {self.method} edit{'s' * (self.edits != 1)}, layer {layers}"

    def summary(self) -> tuple[str, ...]:
        took, stayed = self.metrics["efficacy"], self.metrics["specificity"]
        words = f"{took.value:.0%} of what was to change is said now (n = {took.n})."
        if stayed.n:
            words += f" {stayed.value:.0%} of the neighbours' answers stayed (n = {stayed.n})."
        paraphrase = self.metrics.get("paraphrase")
        if paraphrase is not None and paraphrase.n:
            words += f" In other words it holds in {paraphrase.value:.0%}."
        return (f"{words} {self._verdict()}",)

    def _verdict(self) -> str:
        """The closing sentence: it names every share of `LOW` that is below what is good."""
        judged = self._judged()
        low = [LOW[name] for name, own in judged.items() if own.value < GOOD]
        if judged["efficacy"].value < MIXED:
            return "It did not take: do not ship this."
        if not low:
            words = " in other words too," * ("paraphrase" in judged)
            return f"It took,{words} and little else moved."
        took = "it took as asked, but " * (judged["efficacy"].value >= GOOD)
        end = ": do not ship this." if self.grade() == "bad" else "."
        return f"{took}{' and '.join(low)}{end}".capitalize()

    def _judged(self) -> Metrics:
        """The shares of `LOW` that were asked."""
        return {
            name: self.metrics[name]
            for name in LOW
            if name in self.metrics and self.metrics[name].n
        }

    def grade(self) -> Grade:
        """By the lowest of the shares of `LOW`: one bad share makes a bad edit."""
        return graded(min(own.value for own in self._judged().values()), GOOD, MIXED)

    def tables(self) -> tuple[Table, ...]:
        return (
            Table(
                "Metrics",
                columns("metric", "value", "95 % interval", "n"),
                tuple(
                    (short(name), told(name, own.value), interval(name, own), own.n)
                    for name, own in self.metrics.items()
                ),
            ),
            *self._controls(),
            *self._failed(),
        )

    def _controls(self) -> tuple[Table, ...]:
        if not self.controls:
            return ()
        names = [CONTROL_NAMES.get(name, name.replace("-", "- ")) for name in self.controls]
        rows = []
        for name, own in self.metrics.items():
            values = (
                told(name, metrics[name].value) if name in metrics else "–"
                for metrics in self.controls.values()
            )
            rows.append((short(name), told(name, own.value), *values))
        why = "; ".join(
            f"{name} is not there, or not for all edits: {reason}"
            for name, reason in self.left_out.items()
        )
        return (Table("Beside controls", columns("metric", "edit", *names), tuple(rows), note=why),)

    def _failed(self) -> tuple[Table, ...]:
        changed = [(case.fact.text, line) for case in self.cases for line in case.changed]
        failed = [(case.fact.text, case.fact.new_answer, case.said) for case in self.failed]
        return (
            *(
                [
                    Table(
                        f"{len(failed)} of {len(self.cases)} new answers are not said",
                        columns("asked", "new answer", "says"),
                        tuple(failed),
                        shown=5,
                    )
                ]
                if failed
                else []
            ),
            *(
                [
                    Table(
                        f"{len(changed)} other answers changed",
                        columns("edit", "said differently now"),
                        tuple(changed),
                        shown=5,
                    )
                ]
                if changed
                else []
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.audit/1",
            "protocol": PROTOCOL,
            "model": self.model,
            "bos": self.bos,
            "method": self.method,
            "edits": self.edits,
            "layers": list(self.layers),
            "said": self.said.to_dict(),
            "failed": [
                {
                    "subject": case.fact.subject,
                    "prompt": case.fact.text,
                    "wanted": case.fact.new_answer,
                    "says": case.said,
                }
                for case in self.failed
            ],
            "metrics": plain(self.metrics),
            "meanings": {name: METRICS[name].plainly for name in self.metrics},
            "controls": {name: plain(metrics) for name, metrics in self.controls.items()},
            "left_out": dict(self.left_out),
            "cases": [case.to_dict() for case in self.cases],
        }


def plain(metrics: Metrics) -> dict[str, Any]:
    """Metrics as JSON has them."""
    return {name: estimate.to_dict() for name, estimate in metrics.items()}
