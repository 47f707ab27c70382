"""One pass over text, many accumulators that merge."""

from loci.survey.accumulators import Accumulator, Extremes, FiringRate, Histogram, Moments, Rows, SecondMoment, rotation
from loci.survey.survey import Gathering, Surveyed, TextDigest, Window, merge, survey, text_means, windows
from loci.survey.texts import beginnings, openings, own_texts, read_texts, sample_text, sentences
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
    "TextDigest",
    "TopTriggers",
    "Window",
    "beginnings",
    "merge",
    "openings",
    "own_texts",
    "read_texts",
    "rotation",
    "sample_text",
    "sentences",
    "survey",
    "text_means",
    "windows",
]
