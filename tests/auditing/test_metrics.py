"""The one table of metrics: complete, and what the docs and the explorer say."""

import math
from pathlib import Path

from loci.auditing.metrics import METRICS, short, told
from loci.auditing.questions import LIKELIER
from loci.auditing.scorecards import QUESTIONS, SHARES

DOCS = Path(__file__).parents[2] / "docs" / "auditing.md"


def test_every_metric_of_an_audit_has_words() -> None:
    others = {"drift_kl", "perplexity_ratio", "fluency", "fluency_base"}
    assert set(METRICS) == {*SHARES, *QUESTIONS, *LIKELIER.values(), *others}
    assert {name for name, metric in METRICS.items() if not metric.is_share} == others
    for column in zip(*METRICS.values(), strict=True):
        assert all(column)
    assert len({metric.short for metric in METRICS.values()}) == len(METRICS)


def test_the_docs_say_the_same() -> None:
    rows = [
        line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    for name, metric in METRICS.items():
        assert f"| `{name}` | {metric.meaning} |" in rows


def test_values_as_text() -> None:
    assert [told("efficacy", 0.5), told("drift_kl", 0.5), told("fluency", math.nan)] == [
        "50.0%",
        "0.5000",
        "–",
    ]
    assert short("something_new") == "something new", "of another version's file"
