"""What a model knows, and what an edit did to it."""

from loci.auditing.case_tables import Cases
from loci.auditing.controls import CHEAP, CONTROLS, Ways
from loci.auditing.fact_recall import Recall, recall
from loci.auditing.ground_truth import GroundTruth, Score, score_locators
from loci.auditing.layer_sweep import Sweep, sweep
from loci.auditing.locating_methods import Guess, Locator, locators
from loci.auditing.method_audits import audit_at_once, audit_method, counterfactuals
from loci.auditing.questions import Case
from loci.auditing.replies import Replies, Reply, Wanted, ask
from loci.auditing.scorecards import Scorecard, audit, audit_singles
from loci.auditing.sequential_edits import Curves, audit_in_turn

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
