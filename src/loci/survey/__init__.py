"""One pass over text, many accumulators that merge."""

from loci.survey.accumulators import Accumulator, FiringRate, SecondMoment, TopTriggers
from loci.survey.survey import survey
from loci.survey.texts import prefixes, read_texts, sample_text

__all__ = ["Accumulator", "FiringRate", "SecondMoment", "TopTriggers", "prefixes", "read_texts", "sample_text", "survey"]
