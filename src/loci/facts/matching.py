"""Whether a text gives an answer, and which word of a text is one. No model is asked here.

    matches(said, answer)    the text begins with the answer, at a word boundary

Both are normalised first: capitals, accents of Latin, Greek and Cyrillic letters, kinds of quotes,
runs of white space; an opening quote or bracket, a leading article ("the", "a", "an") and a
trailing "language" ("Turkish language" is given by "Turkish") are left out. The literature calls
this exact-prefix match. The full match, token by token, is `AnswerScore.greedy`.
"""

import re
import unicodedata

from loci.facts.scripts import within_word

ARTICLES = ("the ", "an ", "a ")
TRAILING = (" language",)
"""Words that a data base appends to a name and that nobody says."""
OPENING = " \"'([{<*_`«¿¡"
QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "‹": "<", "–": "-", "‑": "-"}
)
FUNCTION_WORDS = frozenset(
    """a an the this that these those his her its their our my your some any no not each every
    another such same one of in on at to for from by with as into about between and or but nor so
    if than then when while because that is are was were be been being am has have had do does did
    will would can could may might must shall should he she it they we you i him them us who whom
    whose which what where how there here also very more most many
    le la les un une des du de et en der die das ein eine und el los las una y il lo gli e o os
    het een""".split()
)
"""Words that no fact has as its answer: articles, pronouns, prepositions, conjunctions and
auxiliaries.
"""


def normalised(text: str) -> str:
    """A text without capitals, accents, opening quotes and doubled white space."""
    letters = unicodedata.normalize("NFKD", text.translate(QUOTES).casefold())
    plain = "".join(letter for letter in letters if not 0x300 <= ord(letter) <= 0x36F)
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", plain)).lstrip(OPENING).rstrip()


def matches(completion: str, answer: str) -> bool:
    """Whether a text begins with an answer at a word boundary, both normalised.

    matches(" Turkish, which", "Turkish language")     # True
    matches(" Turkishness", "Turkish")                 # False

    An answer that is an article itself (the letter "a") is not given by one: " a vowel" does not
    give it, " A and" does.
    """
    text, wanted = normalised(completion), normalised(answer)
    if (
        f"{wanted} " in ARTICLES
        and completion.lstrip(OPENING)[: len(wanted) + 1] == f"{wanted} "
        and _without_article(text) != text
    ):
        return False
    return _begins(text, wanted) or _begins(_without_article(text), _bare(wanted))


def spelling(completion: str, answer: str) -> str | None:
    """How a text spells an answer: its shortest beginning that gives it, or None where it does not.

    spelling(" the Turkish lira", "Turkish language")    # "the Turkish"
    """
    ends = (
        end
        for end in range(1, len(completion) + 1)
        if not within_word(completion, end) and matches(completion[:end], answer)
    )
    end = next(ends, None) if matches(completion, answer) else None
    return None if end is None else completion[:end].strip()


def may_match(start: str, answer: str) -> bool:
    """Whether a text that starts so could still give the answer: what saves most generations."""
    text, wanted = normalised(start), normalised(answer)
    if not text or "\ufffd" in text:
        return True
    pairs = ((text, wanted), (_without_article(text), _bare(wanted)))
    if any(wish.startswith(start) or start.startswith(wish) for start, wish in pairs):
        return True
    return any(article.startswith(text) for article in ARTICLES)


def _bare(answer: str) -> str:
    """A normalised answer without its article, and without a label's last word."""
    answer = _without_article(answer)
    for suffix in TRAILING:
        answer = answer.removesuffix(suffix) or answer
    return answer


def _without_article(text: str) -> str:
    for article in ARTICLES:
        if text.startswith(article) and text.removeprefix(article).strip():
            return text.removeprefix(article).lstrip(OPENING)
    return text


def _begins(text: str, answer: str) -> bool:
    """Whether the text begins with the answer, and then no more of the same word or number."""
    if not answer or not text.startswith(answer) or within_word(text, len(answer)):
        return False
    return not (answer[-1].isdigit() and re.match(r"[.,]\d", text[len(answer) :]))


def is_function_word(word: str) -> bool:
    """Whether a word is one of `FUNCTION_WORDS`: in small letters, or "The" and "This" at the start
    of a text, but not "He" or "No".
    """
    return word.casefold() in FUNCTION_WORDS and (
        word.islower() or (len(word) > 2 and word.istitle())
    )


def word_ends(text: str) -> list[int]:
    """Where the words of a text's first clause end: at white space or punctuation, which inside a
    word or number ends nothing.

    The words are those up to the first punctuation mark or line break. In scripts without spaces
    the clause is one word.
    """
    ends, start = list[int](), len(text) - len(text.lstrip())
    for position in range(start, len(text)):
        letter, following = text[position], text[position + 1 : position + 2]
        if letter == " ":
            if position and text[position - 1] != " ":
                ends.append(position)
        elif letter.isspace() or (_stops(text, position) and _worded(text[:position])):
            ends += _closed(text, position) if text[position - 1] != " " else []
            break
        elif not following:
            ends.append(position + 1)
    return [end for end in ends if _worded(text[:end])]


def _worded(text: str) -> bool:
    return any(letter.isalnum() for letter in text)


def _stops(text: str, position: int) -> bool:
    """Whether a character ends a clause: punctuation, but in "3.14", "U.S", "O'Neill", "AC/DC" and
    "twenty-one".
    """
    kind = unicodedata.category(text[position])
    if not kind.startswith("P") or text[position] in "#@&%_*":
        return False
    before, following = text[position - 1 : position], text[position + 1 : position + 2]
    if not (before.isalnum() and following.isalnum()):
        return True
    if text[position] in ".,":
        return not (
            (before.isdigit() and following.isdigit())
            or (text[position] == "." and before.isupper())
        )
    return text[position] not in "-'’/·‑"


def _closed(text: str, position: int) -> list[int]:
    """The end of a clause, behind the quote that closes one opened before it."""
    opened = text.lstrip()[:1]
    closing = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "(": ")", "[": "]"}.get(opened)
    return [position + 1 if closing is not None and text[position] == closing else position]
