"""Edits that are refused before any work: those that mean nothing, contradict each other, or do not
fit.
"""

from collections.abc import Sequence

from loci.errors import EditError
from loci.facts import Fact, conflicts
from loci.model import Model, score_answers


def check_edits(model: Model, facts: Sequence[Fact], *, new: bool = True) -> None:
    """Raise `EditError` unless every fact has a new answer and no two ask the same.

    Where they are to be `new`, the model must not give all of the new answers already.
    """
    if not facts:
        raise EditError("there are no facts to edit")
    for fact in facts:
        if fact.new_answer is None:
            raise EditError(
                f"no new answer for {fact.text!r}: say fact.to(…), or fill the column new_answer"
            )
    for one in conflicts(facts):
        if not one.same:
            raise EditError(
                f"two edits contradict each other: {_wish(one.first)} and {_wish(one.second)}"
            )
        if one.first.text == one.second.text:
            raise EditError(f"two edits have the same prompt {one.first.text!r}: leave one out")
    if not new:
        return
    scores = score_answers(model, [(fact.text, fact.new_answer or "") for fact in facts])
    if all(score.said for score in scores):
        more = f" (and so for {len(facts) - 1} more)" if len(facts) > 1 else ""
        raise EditError(
            f"{model.name!r} already answers {facts[0].new_answer!r} to {facts[0].text!r}{more}:"
            " nothing to edit"
        )


def _wish(fact: Fact) -> str:
    return f"{fact.text!r} → {fact.new_answer!r}"


def check_layers(model: Model, layers: Sequence[int]) -> list[int]:
    """The layers in ascending order. Raises `EditError` for one that is not there, `ModelError` for
    mixtures of experts.
    """
    model.place("mlp_act.0")
    for layer in layers:
        if not 0 <= layer < model.n_layers:
            raise EditError(f"there is no layer {layer}: expected 0 … {model.n_layers - 1}")
    if not layers:
        raise EditError("there are no layers to edit")
    return sorted(set(layers))
