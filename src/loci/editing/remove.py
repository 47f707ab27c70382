"""Unlearning as an edit: the fact with an answer that says nothing of it.

unknown  the word itself
prior    what the relation answers most often, of other subjects: what one would guess without
         knowing this one
"""

from typing import Literal

from loci.errors import EditError
from loci.facts import Fact, FactSet

Removal = Literal["unknown", "prior"]


def removed(fact: Fact, world: FactSet, to: Removal = "unknown") -> Fact:
    """The fact, wished away. Raises `EditError` where the relation has no other answer that could
    be its prior.
    """
    if to == "unknown":
        return fact.to("unknown")
    known = world.same(fact)
    relation = fact.relation or (known.relation if known else None)
    prior = (
        next((answer for answer in world.answers(relation) if answer != fact.answer), None)
        if relation
        else None
    )
    if prior is None:
        raise EditError(
            f"nothing is known of the relation of {fact.text!r} that could be its prior: remove it"
            " to unknown"
        )
    return fact.to(prior)
