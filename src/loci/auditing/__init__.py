"""What a model knows, and what an edit did to it."""

from loci.auditing.case_tables import CaseTable
from loci.auditing.controls import CHEAP, CONTROLS, ControlSettings
from loci.auditing.fact_recall import Recall, recall
from loci.auditing.ground_truth import GroundTruth, LocatorScore, score_locators
from loci.auditing.layer_sweep import Sweep, sweep
from loci.auditing.locating_methods import Guess, Locator, locators
from loci.auditing.method_audits import audit_at_once, audit_method, counterfactuals
from loci.auditing.questions import EditCase
from loci.auditing.replies import AskedAnswer, Replies, Reply, ask
from loci.auditing.scorecards import Scorecard, audit, audit_singles
from loci.auditing.sequential_edits import SequentialAudit, audit_in_turn
from loci.deprecated import renamed

__getattr__ = renamed(
    __name__,
    {
        "Case": "EditCase",
        "Cases": "CaseTable",
        "Curves": "SequentialAudit",
        "Score": "LocatorScore",
        "Wanted": "AskedAnswer",
        "Ways": "ControlSettings",
    },
)
__all__ = [
    "CHEAP",
    "CONTROLS",
    "AskedAnswer",
    "CaseTable",
    "ControlSettings",
    "EditCase",
    "GroundTruth",
    "Guess",
    "Locator",
    "LocatorScore",
    "Recall",
    "Replies",
    "Reply",
    "Scorecard",
    "SequentialAudit",
    "Sweep",
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
