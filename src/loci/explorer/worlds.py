"""Verbs of the lab: small worlds in which everything is known.

toy        a model of superposition, shown while it learns
planted    a model whose facts have known places, and what a method of locating says of one
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loci.errors import UseError
from loci.explorer import arguments as takes

if TYPE_CHECKING:
    from loci.explorer.desk import Desk, Tell

Ids = Sequence[str]


def toy(desk: "Desk", args: takes.Toy, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """As `loci superposition toy` trains it; the directions are told as they turn."""
    from loci.studies.superposition import toy as train

    def growing(step: int, partial: Any) -> None:
        tell.part({**partial.to_dict(), "step": step})

    settings = args.model_dump(exclude={"density"})
    return train(
        **settings, densities=[args.density], progress=tell.progress, growing=growing
    ).to_dict()


def planted(desk: "Desk", args: takes.PlantedArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    """Ask a method of locating where a planted fact is, and say where it is."""
    from loci.auditing.locating_methods import locators
    from loci.writing import planted as plant

    made = plant(args.kind, subjects=args.subjects, neurons=args.subjects, seed=args.seed)
    methods = locators(made.facts)
    if args.method not in methods:
        raise UseError(f"there is no method {args.method!r}: {', '.join(methods)}")
    facts = list(made.facts)
    if args.fact >= len(facts):
        raise UseError(f"the planted model has the facts 0 … {len(facts) - 1}")
    fact, place = facts[args.fact], made.places[args.fact]
    tokens = made.model.tokenize(fact.text)
    guess = methods[args.method](made.model, fact)
    return {
        "schema": "loci.planted_found/1",
        "kind": args.kind,
        "method": args.method,
        "methods": list(methods),
        "facts": [[one.text, one.answer] for one in facts],
        "fact": args.fact,
        "layers": made.model.n_layers,
        "tokens": list(tokens.labels),
        "place": {
            "layer": place.layer,
            "token": tokens.span(fact.subject_span)[1] - 1,
            "neurons": list(place.neurons),
        },
        "guess": {
            "layer": guess.layer,
            "token": guess.token,
            "neurons": [list(one) for one in guess.neurons],
        },
    }
