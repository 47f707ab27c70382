"""Where the subject stands in a sentence of RippleEdits, which says only its Wikidata id.

The set's sentences are made from one template a relation: "The name of the mother of <subject> is
<answer>." A relation's words are its name in small letters; the table has those that are said
otherwise. Source: Cohen et al. 2024, appendix A.
"""

import re

from loci.errors import FactError
from loci.facts.fact import BLANK

REGULAR = ("The name of the {words} of {{}} is", "The {words} of {{}} is")
IRREGULAR = {
    "ANTHEM": "The name of the anthem of {} is",
    "AWARD_RECEIVED": "The name of the award {} won is",
    "CAPITAL": "The name of the capital city of {} is",
    "CAPITAL_OF": "The name of the country which {} is the capital of is",
    "CAST_MEMBER": "The names of the cast members of {} are",
    "CONTINENT": "The name of the continent which {} is part of is",
    "COUNTRY": "The name of the country which {} is associated with is",
    "CURRENCY": "The name of the currency in {} is",
    "ETHNIC_GROUP": "The name of the ethnic group which {} is associated with is",
    "FOLLOWED_BY": "{} is followed by",
    "FOLLOWS": "{} follows",
    "IS_ALIVE": "Is {} still alive?",
    "LEAGUE": "The name of the league which {} plays in is",
    "LIKELY_ANTHEM": "The name of the anthem that is most likely to be performed in {} is",
    "MEMBER_OF_SPORTS_TEAM": "The name of the sports team which {} is a member of is",
    "NATIVE_LANGUAGE": "The mother tongue of {} is",
    "NUMBER_OF_CHILDREN": "The number of children {} has is",
    "POSITION_HELD": "The name of the position held by {} is",
    "RELIGION": "The name of the religion which {} is associated with is",
    "SEX_OR_GENDER": "The gender of {} is",
    "SIBLING": "The names of the siblings of {} are",
}


def subject_of(relation: str, sentences: list[str]) -> tuple[str, str, list[str]]:
    """The subject, the template, and each sentence's answer. Raises `FactError` where no template
    of the relation fits them all.

    Where a sentence can be cut in several ways, the shortest subject that all sentences agree on is
    taken.
    """
    words = relation.lower().replace("_", " ")
    for template in (
        [IRREGULAR[relation]]
        if relation in IRREGULAR
        else [form.format(words=words) for form in REGULAR]
    ):
        before, after = template.split(BLANK)
        starts = [match.end() for match in re.finditer(re.escape(f"{after} "), sentences[0])]
        for stem in (sentences[0][:end] for end in starts):
            subject = stem[len(before) : -len(after) - 1]
            if subject and all(
                text.startswith(stem) and text.startswith(before) for text in sentences
            ):
                return (
                    subject,
                    template,
                    [text[len(stem) :].removesuffix(".") for text in sentences],
                )
    raise FactError(f"no subject can be found in {sentences[0]!r} by the relation {relation!r}")
