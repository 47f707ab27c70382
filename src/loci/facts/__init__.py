"""Facts, fact files, and where a subject stands in a tokenised prompt. No torch on this floor.

fact                `Fact`: subject, prompt, answer; `question`: further questions about it
fact_set            facts in order; conflicts; `known`: those of the embedded model
formats             CSV, JSONL and JSON files; `published`, `published_records`, `ripple`: sets
                    of the literature
matching            whether a text gives an answer
spans               the subject's tokens; `scripts`: word ends in any script; `cleaning`
"""

from loci.facts.fact import UNSAID, Fact
from loci.facts.fact_set import Conflict, FactSet, conflicts
from loci.facts.formats import FactFile, load_facts, read_facts, save_facts
from loci.facts.known import controls, corpus, known_facts
from loci.facts.question import KINDS, Question
from loci.facts.spans import Span, find_span, occurrences, token_span

__all__ = [
    "KINDS",
    "UNSAID",
    "Conflict",
    "Fact",
    "FactFile",
    "FactSet",
    "Question",
    "Span",
    "conflicts",
    "controls",
    "corpus",
    "find_span",
    "known_facts",
    "load_facts",
    "occurrences",
    "read_facts",
    "save_facts",
    "token_span",
]
