"""Facts, fact files, and where a subject stands in a tokenised prompt. No torch on this floor."""

from loci.facts.fact import Fact, FactSet
from loci.facts.formats import load_facts, save_facts
from loci.facts.known import controls, corpus, known_facts
from loci.facts.spans import Span, find_span, occurrences, token_span

__all__ = [
    "Fact",
    "FactSet",
    "Span",
    "controls",
    "corpus",
    "find_span",
    "known_facts",
    "load_facts",
    "occurrences",
    "save_facts",
    "token_span",
]
