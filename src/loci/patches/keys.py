"""What a weight reads where a fact is recalled: its input at the last token of the subject, in the bare prompt.

    k = act(W_up x)   for W_down: the neurons         k = norm(resid)   for W_up and W_gate

Edits take means of such keys over several contexts; the bare one is near them, and all that can be had from a patch alone.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from loci.facts import Fact, token_span
from loci.model import Model, by_length

INPUT = {"W_down": "mlp_act", "W_up": "mlp_in", "W_gate": "mlp_in"}
BUDGET = 8192


def keys_of(model: Model, facts: Sequence[Fact], names: Sequence[str]) -> dict[str, Float[Tensor, "in n"]]:
    """The facts' keys at each of some weights (`W_down.3`), columns in the order of the facts. Cost: one run of every prompt."""
    points = {name: f"{INPUT[name.partition('.')[0]]}.{name.partition('.')[2]}" for name in names}
    tokens = [model.tokenize(fact.text) for fact in facts]
    last = [token_span(t.offsets, fact.subject_span)[1] - 1 for t, fact in zip(tokens, facts, strict=True)]
    found: dict[str, list[Tensor]] = {name: [torch.empty(0)] * len(facts) for name in names}
    for batch in by_length(tokens, lambda t: len(t.ids), BUDGET):
        reads = model.read(model.ids([tokens[i].ids for i in batch]), *points.values())
        for name, point in points.items():
            for row, i in enumerate(batch):
                found[name][i] = reads[point][row, last[i]].double().cpu()
    return {name: torch.stack(columns, 1) for name, columns in found.items()}
