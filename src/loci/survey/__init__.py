"""One pass over text, many accumulators that merge."""

from loci.survey.accumulators import Accumulator, FiringRate, SecondMoment, TopTriggers
from loci.survey.survey import survey
from loci.survey.texts import prefixes, sample_text

__all__ = ["Accumulator", "FiringRate", "SecondMoment", "TopTriggers", "prefixes", "sample_text", "survey"]
