"""Auditing: what a model answers, and what an edit did to it.

scorecards        `audit`: efficacy, paraphrase, specificity, fluency and drift, with controls
evaluation        the questions of an audit, put to the base once and to any state of the model
sequential_edits  edits one after another, with warning signs; layer_sweep: edits at every layer
feature_edits     a dictionary's features moved at a subject, beside ROME
fact_recall       which facts a model answers; discovery: in which words; replies: plain questions
removal_search    `gone`: whether a removed answer comes back, asked, inside, and relearnt
ground_truth      methods of locating against planted models
forensics         what was done to a checkpoint, from its weights alone
"""

from loci.auditing.case_tables import CaseTable
from loci.auditing.controls import CHEAP, CONTROLS, ControlSettings
from loci.auditing.discovery import Discovery, discover
from loci.auditing.fact_recall import Recall, recall
from loci.auditing.feature_edits import FeatureEdits, audit_feature_edits
from loci.auditing.ground_truth import GroundTruth, LocatorScore, score_locators
from loci.auditing.layer_sweep import Sweep, sweep
from loci.auditing.locating_methods import Guess, Locator, locators
from loci.auditing.method_audits import audit_at_once, audit_method, counterfactuals
from loci.auditing.questions import EditCase
from loci.auditing.removal_audit import Removal, RemovalTest
from loci.auditing.removal_search import gone
from loci.auditing.replies import AskedAnswer, Replies, Reply, ask
from loci.auditing.scorecard import Scorecard
from loci.auditing.scorecards import audit, audit_singles
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
    "Discovery",
    "EditCase",
    "FeatureEdits",
    "GroundTruth",
    "Guess",
    "Locator",
    "LocatorScore",
    "Recall",
    "Removal",
    "RemovalTest",
    "Replies",
    "Reply",
    "Scorecard",
    "SequentialAudit",
    "Sweep",
    "ask",
    "audit",
    "audit_at_once",
    "audit_feature_edits",
    "audit_in_turn",
    "audit_method",
    "audit_singles",
    "counterfactuals",
    "discover",
    "gone",
    "locators",
    "recall",
    "score_locators",
    "sweep",
]
