"""Was this checkpoint edited? Which weights, which subjects, what they say now; and what one checkpoint says by itself."""

from loci.auditing.forensics.candidates import Candidate, candidates_of, load_candidates
from loci.auditing.forensics.changes import Change, compare
from loci.auditing.forensics.comparison import Forensics, Subject, forensics
from loci.auditing.forensics.single_checkpoint import Alone, Outlier, alone

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
