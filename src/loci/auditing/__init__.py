"""What a model knows, and what an edit did to it."""

from loci.auditing.audit import Case, Scorecard, audit, audit_singles
from loci.auditing.ground_truth import GroundTruth, Guess, Locator, Score, locators, score_locators
from loci.auditing.method import audit_method, counterfactuals
from loci.auditing.recall import Recall, recall
from loci.auditing.sweep import Sweep, sweep

__all__ = [
    "Case",
    "GroundTruth",
    "Guess",
    "Locator",
    "Recall",
    "Score",
    "Scorecard",
    "Sweep",
    "audit",
    "audit_method",
    "audit_singles",
    "counterfactuals",
    "locators",
    "recall",
    "score_locators",
    "sweep",
]
