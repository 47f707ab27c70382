"""What a model knows, and what an edit did to it."""

from loci.auditing.audit import Case, Scorecard, audit, audit_singles
from loci.auditing.recall import Recall, recall
from loci.auditing.wishes import counterfactuals

__all__ = ["Case", "Recall", "Scorecard", "audit", "audit_singles", "counterfactuals", "recall"]
