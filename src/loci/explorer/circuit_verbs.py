"""Verbs about circuits and dictionaries: composition, a fact's circuit, a head between two words,
features and attribution graphs.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loci.errors import DictionaryError
from loci.explorer import arguments as takes

if TYPE_CHECKING:
    from loci.dictionaries import Dictionary
    from loci.explorer.desk import Desk, Tell

Ids = Sequence[str]


def compose(desk: "Desk", args: takes.Nothing, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.circuits import compose as scores

    with desk.patched(ids) as model:
        return scores(model, progress=tell.progress).to_dict()


def fact_circuit(
    desk: "Desk", args: takes.PromptArguments, ids: Ids, tell: "Tell"
) -> dict[str, Any]:
    from loci.circuits import fact_circuit as circuit
    from loci.model import fact_from

    with desk.patched(ids) as model:
        fact = fact_from(
            model, args.prompt, args.subject, answer=args.answer, hint="say the subject"
        )
        return circuit(model, fact).to_dict()


def pair(desk: "Desk", args: takes.PairArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.circuits import token_pair

    with desk.patched(ids) as model:
        entries = token_pair(
            model, args.head, token(model, args.source), token(model, args.destination)
        )
    return {
        "schema": "loci.token_pair/1",
        "model": model.name,
        "head": args.head,
        **entries._asdict(),
        "raises": [one._asdict() for one in entries.raises],
    }


def token(model: Any, word: str) -> str:
    """A word as one token of the model: as it stands, or behind a space. Raises `CircuitError`."""
    from loci.circuits.token_circuits import token_id
    from loci.errors import CircuitError

    try:
        return f"#{token_id(model, word)}"
    except CircuitError:
        return f"#{token_id(model, f' {word.strip()}')}"


def shipped(desk: "Desk", layer: int) -> "Dictionary":
    """The dictionary that comes with the embedded model at a layer. Raises `DictionaryError`."""
    from loci.dictionaries import load_dictionary
    from loci.dictionaries.loading import EMBEDDED, PREFIX

    name = f"mlp_out.{layer}"
    if desk.settings.model != "demo" or name not in EMBEDDED:
        raise DictionaryError(
            f"no dictionary of layer {layer} is loaded: the embedded model has some of"
            f" {', '.join(EMBEDDED)}"
        )
    return load_dictionary(f"{PREFIX}{name}")


def feature(desk: "Desk", args: takes.FeatureArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.dictionaries import read_features

    dictionary = shipped(desk, args.layer)
    texts = desk.texts(args.tokens, tell.progress)
    with desk.patched(ids) as model:
        cards = read_features(
            model, dictionary, [args.feature], texts, top=args.top, progress=tell.progress
        )
    return cards[0].to_dict()


def feature_labels(
    desk: "Desk", args: takes.LabelledFeature, ids: Ids, tell: "Tell"
) -> dict[str, Any]:
    from loci.explorer.labels import feature_labels as labels

    dictionary = shipped(desk, args.layer)
    with desk.patched(ids) as model:
        return labels(model, dictionary, args.feature, args.facts, args.top)


def graph(desk: "Desk", args: takes.GraphArguments, ids: Ids, tell: "Tell") -> dict[str, Any]:
    from loci.dictionaries import attribution_graph

    transcoders = {1: shipped(desk, 1)} if args.features else None
    with desk.patched(ids) as model:
        return attribution_graph(
            model,
            args.prompt,
            args.answer,
            transcoders=transcoders,
            tested=args.tested,
            progress=tell.progress,
        ).to_dict()
