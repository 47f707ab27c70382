"""Forensics: what was done to a checkpoint, and whom it is about.

comparison         `forensics`: base and edited checkpoint compared, with a verdict in words changes
which weights differ, by how much and at which rank; rounding: what rounding explains subjects
which subjects a change is about, from the directions of their keys single_checkpoint  `alone`:
outliers among the layers of a checkpoint without its base  edit_traces `without_base`: the same,
run: the direction that its keys do not explain
"""

from loci.auditing.forensics.candidates import Candidate, candidates_of, load_candidates
from loci.auditing.forensics.changes import WeightChange, compare
from loci.auditing.forensics.comparison import Forensics, Subject, forensics
from loci.auditing.forensics.edit_traces import LayerSign, WithoutBase, without_base
from loci.auditing.forensics.single_checkpoint import Outlier, SingleCheckpoint, alone
from loci.auditing.forensics.written_answer import WrittenAnswer
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
    "LayerSign",
    "Outlier",
    "SingleCheckpoint",
    "Subject",
    "WeightChange",
    "WithoutBase",
    "WrittenAnswer",
    "alone",
    "candidates_of",
    "compare",
    "forensics",
    "load_candidates",
    "without_base",
]
