"""One pass over text, many accumulators that merge: here, or in shards by any number of workers.

text_pass           `survey`: the pass; `accumulators`: second moments, firing rates and others;
                    `histograms`, `triggers`
question            what to accumulate, as a value; `gathering`: asked of workers in one call
plan                a long pass as a value; `costs`: before it runs; `outcomes`: after it
driver              workers with the plan: `processes`, `ray_pool`, `jobs` (Slurm), `worker`
shards, states, tree: one task, its state on disk, and the order of merging
layer_major         models larger than memory, a layer at a time
drift               KL of an edited model on unrelated text
"""

from loci.deprecated import renamed
from loci.survey.accumulators import (
    Accumulator,
    Extremes,
    FiringRate,
    Moments,
    Rows,
    SecondMoment,
    rotation,
)
from loci.survey.driver import run_plan
from loci.survey.gathering import Gathered, Workers, gather
from loci.survey.histograms import Histogram
from loci.survey.outcomes import merge_states, outcome
from loci.survey.pass_checkpoint import Surveyed, TextDigest
from loci.survey.plan import Plan, make_plan
from loci.survey.plan_document import ModelSource
from loci.survey.question import (
    Kind,
    SurveyQuestion,
    keys_question,
    neurons_question,
    stream_question,
)
from loci.survey.states import Gathering, State
from loci.survey.text_pass import Window, merge, survey, text_means, windows
from loci.survey.triggers import TopTriggers

__all__ = [
    "Accumulator",
    "Extremes",
    "FiringRate",
    "Gathered",
    "Gathering",
    "Histogram",
    "Kind",
    "ModelSource",
    "Moments",
    "Plan",
    "Rows",
    "SecondMoment",
    "State",
    "SurveyQuestion",
    "Surveyed",
    "TextDigest",
    "TopTriggers",
    "Window",
    "Workers",
    "gather",
    "keys_question",
    "make_plan",
    "merge",
    "merge_states",
    "neurons_question",
    "outcome",
    "rotation",
    "run_plan",
    "stream_question",
    "survey",
    "text_means",
    "windows",
]

__getattr__ = renamed(
    __name__,
    {name: f"loci.text:{name}" for name in ("own_texts", "read_texts", "sample_text")},
)
