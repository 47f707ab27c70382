"""Every case of an audit as a table: one row an edit, with the share of hits of each metric and
the hits themselves, prompt by prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loci.auditing.questions import EditCase
from loci.auditing.scorecard import Scorecard


@dataclass(frozen=True)
class CaseTable:
    """The cases of a scorecard, as records.

    Hits read as "1 0 1": right, wrong, right, in the order of asking.
    """

    card: Scorecard

    def to_dict(self) -> dict[str, Any]:
        metrics = list(dict.fromkeys(metric for case in self.card.cases for metric in case.hits))
        return {
            "schema": "loci.cases/1",
            "model": self.card.model,
            "method": self.card.method,
            "edits": self.card.edits,
            "cases": [record(case, metrics) for case in self.card.cases],
        }


def record(case: EditCase, metrics: Sequence[str]) -> dict[str, Any]:
    """One case in plain columns; a metric that asked nothing is empty."""
    fact = case.fact
    known = {name: getattr(fact, name) for name in ("subject", "relation", "answer", "new_answer")}
    row: dict[str, Any] = {
        "prompt": fact.text,
        **known,
        "said": case.said,
        "probability": case.probability,
    }
    for metric in metrics:
        hits = case.hits.get(metric, ())
        row[metric] = sum(hits) / len(hits) if hits else None
        row[f"{metric}_hits"] = " ".join(str(int(hit)) for hit in hits)
    return {**row, "changed": " | ".join(case.changed)}
