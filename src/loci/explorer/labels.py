"""Labels of a neuron or a feature in terms of known facts: their relations and answers.

said      its activation at the subject's last token, or at the prompt's, is above t
t         where the F1 is largest, on one half of the facts
precision share of the facts that are said to have the label and have it      recall share of
          those with the label that are said to have it, both on the other half
"""

import random
from collections.abc import Callable
from typing import Any

from torch import Tensor

from loci.dictionaries import Dictionary
from loci.dictionaries.fact_labels import auc_of, best_threshold, f1_of, label_facts
from loci.errors import DictionaryError, FactError
from loci.explorer.measures import one_of
from loci.facts import known_facts
from loci.model import Model
from loci.stats import share

TRIED = 30
"""Labels, by the area under the curve, for which a threshold is looked for."""


def neuron_labels(model: Model, name: str, facts: int, top: int, seed: int = 0) -> dict[str, Any]:
    """The labels that a neuron's activation says best. Cost: a run over so many prompts.

    Raises `FactError` where no label has facts enough.
    """
    layer, neuron = one_of(model, name)
    return _labels(model, name, f"mlp_act.{layer}", lambda x: x[:, neuron], facts, top, seed)


def feature_labels(
    model: Model, dictionary: Dictionary, feature: int, facts: int, top: int, seed: int = 0
) -> dict[str, Any]:
    """The same of a feature of a dictionary. Raises `DictionaryError` where it has none of that
    number, or does not say where it belongs.
    """
    if dictionary.point is None or not feature < dictionary.features:
        raise DictionaryError(
            f"there is no feature {feature} at {dictionary.point}: the dictionary has"
            f" {dictionary.features}"
        )
    name = f"{dictionary.point} F{feature}"
    return _labels(
        model, name, dictionary.point, lambda x: dictionary.encode(x)[:, feature], facts, top, seed
    )


def _labels(
    model: Model,
    name: str,
    point: str,
    activation: Callable[[Tensor], Tensor],
    facts: int,
    top: int,
    seed: int,
) -> dict[str, Any]:
    """Labels chosen on one half of the facts and judged on the other."""
    chosen = random.Random(seed).sample(list(known_facts()), min(facts, len(known_facts())))
    known = label_facts(model, chosen, [point], seed=seed)
    train, test = known.train, ~known.train
    labels = []
    for at in known.values[point]:
        values = activation(known.values[point][at])
        mine = [i for i, (where, _) in enumerate(known.labels) if where == at]
        aucs = auc_of(values[train][:, None], known.marks[train][:, mine])[0]
        for k in aucs.topk(min(TRIED, len(mine))).indices.tolist():
            mark = known.marks[:, mine[k]]
            threshold = best_threshold(values[train], mark[train])
            said, true = values[test] > threshold, mark[test]
            if not bool(said.any()) or not bool(true.any()):
                continue
            labels.append(
                {
                    "label": known.labels[mine[k]][1],
                    "at": at,
                    "threshold": threshold,
                    "f1_chosen": f1_of(values[train] > threshold, mark[train]),
                    "f1": f1_of(said, true),
                    "precision": share(true[said].tolist()).to_dict(),
                    "recall": share(said[true].tolist()).to_dict(),
                }
            )
    if not labels:
        raise FactError(f"{name}: no label can be judged on these facts")
    labels.sort(key=lambda one: -one["f1_chosen"])
    return {
        "schema": "loci.neuron_labels/1",
        "model": model.name,
        "name": name,
        "facts": len(chosen),
        "labels": labels[:top],
    }
