"""The input of a weight where a fact is recalled: at the last token of the subject, in the bare
prompt.

    k = act(W_up x)   for W_down: the neurons         k = norm(resid)   for W_up and W_gate

Edits take means of such keys over several contexts; the bare one is near them, and all that can be
had from a patch alone.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from loci.facts import Fact
from loci.model import Model, at_subjects

INPUT = {"W_down": "mlp_act", "W_up": "mlp_in", "W_gate": "mlp_in"}


def keys_of(
    model: Model, facts: Sequence[Fact], names: Sequence[str]
) -> dict[str, Float[Tensor, "in n"]]:
    """The facts' keys at each of some weights (`W_down.3`), columns in the order of the facts.
    Cost: one run of every prompt.
    """
    points = {name: f"{INPUT[name.partition('.')[0]]}.{name.partition('.')[2]}" for name in names}
    activations = at_subjects(model, facts, *points.values())
    return {name: activations[point].double().T for name, point in points.items()}
