"""The training data of the embedded model: its facts, its text, and held-out sentences for
controls.
"""

import csv
import json
from functools import cache
from importlib.resources import files

from loci.facts.fact import Fact
from loci.facts.fact_set import FactSet


def _text(name: str) -> str:
    return files("loci.demo").joinpath(name).read_text(encoding="utf-8")


@cache
def known_facts() -> FactSet:
    """The facts of the embedded model: first phrasing as prompt, the others as paraphrases, a fifth
    with one held out.
    """
    phrasings: dict[str, list[str]] = json.loads(_text("relations.json"))
    return FactSet(
        _fact(row, phrasings[row["relation"]])
        for row in csv.DictReader(_text("facts.csv").splitlines())
    )


def _fact(row: dict[str, str], phrasings: list[str]) -> Fact:
    held_out = phrasings[int(row["held_out"])] if row["held_out"] else None
    return Fact(
        row["subject"],
        phrasings[0],
        row["answer"],
        relation=row["relation"],
        paraphrases=tuple(p for p in phrasings[1:] if p != held_out),
        held_out=(held_out,) if held_out else (),
    )


def corpus() -> list[str]:
    """The embedded model's training sentences: every fact in every phrasing but the held-out one,
    then the plain sentences.
    """
    stated = [
        f"{fact.fill(template)} {fact.answer}."
        for fact in known_facts()
        for template in (fact.prompt, *fact.paraphrases)
    ]
    return stated + _text("plain.txt").splitlines()


def controls() -> list[str]:
    """Plain sentences that state no fact and were kept out of training: what an edit changes here
    is damage.
    """
    return _text("controls.txt").splitlines()
