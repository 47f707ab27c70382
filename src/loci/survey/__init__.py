"""One pass over text, many accumulators that merge."""

from loci.survey.accumulators import Accumulator, Extremes, FiringRate, Histogram, Moments, Rows, SecondMoment
from loci.survey.survey import Gathering, Surveyed, Window, merge, survey, text_means, windows
from loci.survey.texts import own_texts, prefixes, read_texts, sample_text
from loci.survey.triggers import TopTriggers

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
    "Window",
    "merge",
    "own_texts",
    "prefixes",
    "read_texts",
    "sample_text",
    "survey",
    "text_means",
    "windows",
]
