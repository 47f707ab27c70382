"""Where a word ends, in any script: some put spaces between words, some do not, and some marks
belong to the letter before them.
"""

import unicodedata
from bisect import bisect_right

UNSPACED = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul, by parts
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0x2E80, 0x2FDF),  # radicals
    (0x3003, 0x4DBF),  # Kana, Bopomofo, Hangul by letters, Han
    (0x4E00, 0x9FFF),  # Han
    (0xA000, 0xA4CF),  # Yi
    (0xA960, 0xA9FF),  # Hangul by parts, Javanese, Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFFDC),  # half-width Kana and Hangul
    (0x16FE0, 0x18DFF),  # Tangut, Nushu, Khitan
    (0x1AFF0, 0x1B2FF),  # Kana, Nushu
    (0x20000, 0x3FFFF),  # Han
)
"""Scripts written without spaces between words; and Hangul, which writes particles onto them."""
HANGUL = ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF), (0xFFA0, 0xFFDC))
JOINER = "\u200d"
_STARTS = [first for first, _ in UNSPACED]


def unspaced(character: str) -> bool:
    """Whether nothing is to be seen between words in this character's script."""
    place = bisect_right(_STARTS, ord(character)) - 1
    return place >= 0 and ord(character) <= UNSPACED[place][1]


def hangul(character: str) -> bool:
    """Whether it is Korean, which has spaces between words, but none before particles."""
    return any(first <= ord(character) <= last for first, last in HANGUL)


def attached(character: str) -> bool:
    """Whether it is part of the character before it: accents, vowel signs, joined emoji and their
    tones, later parts of a syllable.
    """
    code = ord(character)
    return (
        unicodedata.category(character).startswith("M")
        or character == JOINER
        or 0x1F3FB <= code <= 0x1F3FF
        or 0x1160 <= code <= 0x11FF
    )


def within_word(text: str, position: int) -> bool:
    """Whether the boundary before `text[at]` is inside a word, or inside a character.

    Inside a word it is between two letters or digits of scripts that have spaces between words.
    """
    if not 0 < position < len(text):
        return False
    if attached(text[position]) or text[position - 1] == JOINER:
        return True
    before = position - 1
    while before and attached(text[before]):
        before -= 1
    return all(side.isalnum() and not unspaced(side) for side in (text[before], text[position]))


def composed(text: str) -> tuple[str, dict[int, int]]:
    """A text with its letters and accents as one character where there is one, and where each
    character's place was.
    """
    characters: list[str] = []
    places, length, start = {0: 0}, 0, 0
    for end in range(1, len(text) + 1):
        if end == len(text) or not attached(text[end]):
            characters.append(unicodedata.normalize("NFC", text[start:end]))
            length, start = length + len(characters[-1]), end
            places[length] = end
    return "".join(characters), places
