"""One pass over text, many accumulators.

    survey(model, texts, {"mlp_act.3": [SecondMoment(), TopTriggers([37])]})

Every text is run once, up to the last point that is asked for; BOS is left out, since every text has the same there.
Cost: one partial forward and the accumulators' updates. Memory: one batch and the accumulators.
"""

from collections.abc import Mapping, Sequence

import torch

from loci.errors import ModelError
from loci.model import Model, by_length
from loci.progress import Progress, silent
from loci.survey.accumulators import Accumulator

Gathering = Mapping[str, Sequence[Accumulator]]


@torch.no_grad()
def survey(model: Model, texts: Sequence[str], gathering: Gathering, *, budget: int = 8192, progress: Progress = silent) -> int:
    """Feed the accumulators of each point with the activations of all texts; returns the number of tokens seen.

    Batches hold at most `budget` tokens of equally long texts. Raises `ModelError` where there is no text.
    """
    tokens = [model.tokenize(text) for text in texts if text.strip()]
    if not tokens:
        raise ModelError("there is no text to survey")
    seen = 0
    for batch in by_length(tokens, len, budget):
        skip = tokens[batch[0]].special
        length = len(tokens[batch[0]]) - skip
        reads = model.read(model.ids([tokens[i].ids for i in batch]), *gathering)
        where = torch.stack(
            [torch.tensor(batch).repeat_interleave(length), torch.arange(skip, length + skip).repeat(len(batch))], 1
        )
        for point, accumulators in gathering.items():
            values = reads[point][:, skip:].flatten(0, 1).cpu()
            for accumulator in accumulators:
                accumulator.update(values, where)
        seen += len(where)
        progress(len(batch), len(tokens))
    return seen
