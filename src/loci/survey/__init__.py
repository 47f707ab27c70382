"""One pass over text, many accumulators that merge."""

from loci.survey.accumulators import Accumulator, FiringRate, SecondMoment, TopTriggers
from loci.survey.survey import survey

__all__ = ["Accumulator", "FiringRate", "SecondMoment", "TopTriggers", "survey"]
