"""What a model knows, and what an edit did to it."""

from loci.auditing.asking import Case
from loci.auditing.audit import Scorecard, audit, audit_singles
from loci.auditing.cases import Cases
from loci.auditing.controls import CHEAP, CONTROLS, Ways
from loci.auditing.curves import Curves, audit_in_turn
from loci.auditing.ground_truth import GroundTruth, Score, score_locators
from loci.auditing.locators import Guess, Locator, locators
from loci.auditing.method import audit_at_once, audit_method, counterfactuals
from loci.auditing.recall import Recall, recall
from loci.auditing.replies import Replies, Reply, Wanted, ask
from loci.auditing.sweep import Sweep, sweep

__all__ = [
    "CHEAP",
    "CONTROLS",
    "Case",
    "Cases",
    "Curves",
    "GroundTruth",
    "Guess",
    "Locator",
    "Recall",
    "Replies",
    "Reply",
    "Score",
    "Scorecard",
    "Sweep",
    "Wanted",
    "Ways",
    "ask",
    "audit",
    "audit_at_once",
    "audit_in_turn",
    "audit_method",
    "audit_singles",
    "counterfactuals",
    "locators",
    "recall",
    "score_locators",
    "sweep",
]
