"""Was this checkpoint edited? Which weights, which subjects, what they say now; and what one
checkpoint says by itself."""

from loci.auditing.forensics.candidates import Candidate, candidates_of, load_candidates
from loci.auditing.forensics.changes import WeightChange, compare
from loci.auditing.forensics.comparison import Forensics, Subject, forensics
from loci.auditing.forensics.single_checkpoint import Outlier, SingleCheckpoint, alone
from loci.deprecated import renamed

__getattr__ = renamed(
    __name__,
    {
        "Alone": "SingleCheckpoint",
        "Change": "WeightChange",
    },
)
__all__ = [
    "Candidate",
    "Forensics",
    "Outlier",
    "SingleCheckpoint",
    "Subject",
    "WeightChange",
    "alone",
    "candidates_of",
    "compare",
    "forensics",
    "load_candidates",
]
