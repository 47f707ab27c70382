"""Was this checkpoint edited? Which weights, which subjects, what they say now; and what one checkpoint says by itself."""

from loci.auditing.forensics.alone import Alone, Outlier, alone
from loci.auditing.forensics.candidates import Candidate, candidates_of, load_candidates
from loci.auditing.forensics.changes import Change, compare
from loci.auditing.forensics.inquiry import Forensics, Subject, forensics

__all__ = [
    "Alone",
    "Candidate",
    "Change",
    "Forensics",
    "Outlier",
    "Subject",
    "alone",
    "candidates_of",
    "compare",
    "forensics",
    "load_candidates",
]
