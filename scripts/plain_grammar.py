"""Sentences that state no fact: a small grammar of everyday life, seeded.

They keep the demo model's English general, give its embedding a gender direction to read (each
person of the grammar comes with the matching pronouns), and serve as controls: what an edit changes
here is damage.

    python scripts/plain_grammar.py --count 7000 --controls 400
"""

import argparse
import random
import re
from pathlib import Path

DEMO = Path(__file__).parents[1] / "src" / "loci" / "demo"

PEOPLE = {
    "m": (
        "man king boy father son brother uncle husband prince gentleman grandfather nephew waiter"
        " lord".split()
    ),
    "f": (
        "woman queen girl mother daughter sister aunt wife princess lady grandmother niece waitress"
        " duchess".split()
    ),
}
PRONOUN = {
    "m": {"he": "he", "his": "his", "him": "him"},
    "f": {"he": "she", "his": "her", "him": "her"},
}

SLOTS = """\
adj     old | young | tall | quiet | happy | tired | clever | friendly | hungry | gentle | brave | busy | polite | careful | cheerful
verb    walked | ran | cycled | drove | hurried | wandered | travelled | returned | moved | went
place   market | station | garden | river | school | library | kitchen | harbour | bakery | office | beach | forest | museum | bridge | old mill
thing   book | letter | basket | lamp | umbrella | chair | blanket | bottle | coat | mirror | ladder | clock | bucket | small box | wooden spoon
made    painted | repaired | washed | bought | sold | found | carried | dropped | hid | borrowed
food    soup | bread | rice | an apple | a sandwich | some cheese | a salad | fish and potatoes | warm porridge | a slice of cake
colour  red | blue | green | yellow | white | black | brown | grey | purple | orange
weather sunny | rainy | cloudy | windy | cold | warm | foggy | stormy | snowy | mild
time    in the morning | at noon | in the evening | after lunch | before sunrise | on a Sunday | last week | every day | at night | in the spring
number  two | three | four | five | six | seven | eight | nine | ten | twelve
plural  cups | plates | candles | flowers | stones | boats | chairs | windows | buttons | pencils
feel    glad | sad | proud | nervous | calm | angry | surprised | lonely | hopeful | sleepy
sound   softly | loudly | slowly | quickly | kindly | bravely | clearly | sadly | happily | quietly
crowd   neighbours | children | farmers | students | teachers | sailors | guests | workers | musicians | visitors
act     sang | danced | waited | talked | laughed | rested | argued | worked | listened | celebrated
wear    hat | scarf | shirt | belt | ring | jacket | glove | cloak | shoe | ribbon
"""
WORDS = {line.split()[0]: line.split(maxsplit=1)[1].split(" | ") for line in SLOTS.splitlines()}

TEMPLATES = """\
the {person} put {his} {thing} near the {place}
the {person} said that {he} was {feel}
{he} is a {adj} {person} and {he} likes {his} {colour} {wear}
the {adj} {person} {verb} to the {place} {time}
{time} the {person} {verb} to the {place} with {his} {thing}
the {person} gave {his} {kin} a {colour} {thing}
the {kin} of the {person} thanked {him} for the {thing}
the {person} {made} a {thing} and then {he} {verb} home
{he} was a {person} whom everybody in the {place} knew
when the {person} was {feel} {he} spoke {sound} to {his} {kin}
the {person} ate {food} while {his} {kin} slept
the {person} wore {his} {colour} {wear} {time}
the weather was {weather} and the {crowd} {act} in the {place}
it was {weather} {time} so the {crowd} stayed near the {place}
there were {number} {plural} on the table in the {place}
the {crowd} {made} {number} {colour} {plural} {time}
a {colour} {thing} stood beside the {place}
nobody {made} the {thing} because it was too {weather} outside
the {crowd} {act} {sound} while it was {weather}
{he} asked {him} whether the {thing} was in the {place}
if it is {weather} tomorrow the {person} will stay with {his} {kin}
the {person} and {his} {kin} counted {number} {plural} {time}
the {thing} in the {place} was {colour} and very old
some {crowd} were {feel} because the {place} was closed {time}
the king and the queen lived in a castle near the {place}
a king is a man and a queen is a woman
a {pair_m} is a man and a {pair_f} is a woman
the {pair_f} is she and the {pair_m} is he
""".splitlines()


def sentence(rng: random.Random) -> str:
    """One sentence; every blank of a template is drawn anew, pronouns and kin agree with the
    person.
    """
    gender = rng.choice("mf")
    pair = rng.randrange(len(PEOPLE["m"]))
    fixed = {**PRONOUN[gender], "pair_m": PEOPLE["m"][pair], "pair_f": PEOPLE["f"][pair]}

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        if slot == "person":
            return rng.choice(PEOPLE[gender])
        if slot == "kin":
            return rng.choice(PEOPLE[rng.choice("mf")][3:8])
        return fixed.get(slot) or rng.choice(WORDS[slot])

    text = re.sub(r"\{(\w+)\}", fill, rng.choice(TEMPLATES))
    text = re.sub(r"\ba ([aeiou])", r"an \1", text)
    return text[0].upper() + text[1:] + "."


def sentences(count: int, seed: int = 0) -> list[str]:
    """`count` different sentences, in the order in which they were drawn."""
    rng, seen = random.Random(seed), dict[str, None]()
    while len(seen) < count:
        seen[sentence(rng)] = None
    return list(seen)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=7000, help="sentences for training")
    parser.add_argument(
        "--controls", type=int, default=400, help="further sentences, kept out of training"
    )
    args = parser.parse_args()
    drawn = sentences(args.count + args.controls)
    (DEMO / "plain.txt").write_text("\n".join(drawn[: args.count]) + "\n")
    (DEMO / "controls.txt").write_text("\n".join(drawn[args.count :]) + "\n")


if __name__ == "__main__":
    main()
