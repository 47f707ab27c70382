"""One pass over text, many accumulators that merge."""

from loci.survey.accumulators import Accumulator, Extremes, FiringRate, Histogram, Moments, Rows, SecondMoment, TopTriggers
from loci.survey.survey import Gathering, Surveyed, merge, survey, text_means
from loci.survey.texts import beginnings, own_texts, read_texts, sample_text, sentences

__all__ = [
    "Accumulator",
    "Extremes",
    "FiringRate",
    "Gathering",
    "Histogram",
    "Moments",
    "Rows",
    "SecondMoment",
    "Surveyed",
    "TopTriggers",
    "beginnings",
    "merge",
    "own_texts",
    "read_texts",
    "sample_text",
    "sentences",
    "survey",
    "text_means",
]
