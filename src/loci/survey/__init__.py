"""One pass over text, many accumulators that merge."""

from loci.deprecated import renamed
from loci.survey.accumulators import Accumulator, Extremes, FiringRate, Histogram, Moments, Rows, SecondMoment, rotation
from loci.survey.states import Gathering
from loci.survey.survey import Surveyed, TextDigest, Window, merge, survey, text_means, windows
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
    "merge",
    "rotation",
    "survey",
    "text_means",
    "windows",
]

__getattr__ = renamed(
    __name__,
    {name: f"loci.text:{name}" for name in ("own_texts", "read_texts", "sample_text")},
)
