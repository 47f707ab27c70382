"""Check the embedded facts; prints what is wrong and exits 1, or prints the counts.

    python scripts/check_facts.py

Refused: stray characters and spaces, a relation without phrasings or with fewer than four, two rows
for one subject of a relation, one prompt with two answers, a held-out phrasing that is the first or
does not exist, fewer facts than the world should have.
"""

import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path

DEMO = Path(__file__).parents[1] / "src" / "loci" / "demo"
WORD = r"[A-Za-z0-9]+(?:['-][A-Za-z0-9]+)*'?"
ANSWER = re.compile(rf"{WORD}(?: (?:& )?{WORD})*")
FIELD = re.compile(rf"{WORD}\.?(?:[ .&](?:& )?{WORD}\.?)*")
LEAST = {"facts": 3000, "relations": 24, "subjects with two facts or more": 400}
JORDAN = {"athlete_sport": "basketball", "athlete_team": "Chicago Bulls", "athlete_number": "23"}


def problems(rows: list[dict[str, str]], phrasings: dict[str, list[str]]) -> list[str]:
    found = [f"{name}: {len(p)} phrasings" for name, p in phrasings.items() if len(p) < 4]
    found += [
        f"{name}: phrasing {q!r} needs one {{}}"
        for name, p in phrasings.items()
        for q in p
        if q.count("{}") != 1
    ]
    seen: dict[tuple[str, str], str] = {}
    prompts: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        relation, subject, answer, held_out = (
            row["relation"],
            row["subject"],
            row["answer"],
            row["held_out"],
        )
        where = f"line {line}: {relation}, {subject!r}"
        if relation not in phrasings:
            found.append(f"{where}: unknown relation")
            continue
        if not FIELD.fullmatch(subject) or not ANSWER.fullmatch(answer):
            found.append(f"{where}: stray characters in {subject!r} or {answer!r}")
        if (relation, subject) in seen:
            found.append(f"{where}: also {seen[relation, subject]!r}")
        if held_out and not 1 <= int(held_out) < len(phrasings[relation]):
            found.append(f"{where}: held-out phrasing {held_out}")
        seen[relation, subject] = answer
        for template in phrasings[relation]:
            prompt = template.replace("{}", subject)
            if prompts.setdefault(prompt, answer) != answer:
                found.append(f"{where}: {prompt!r} also has the answer {prompts[prompt]!r}")
    found += [
        f"Michael Jordan: {r} is not {a}"
        for r, a in JORDAN.items()
        if seen.get((r, "Michael Jordan")) != a
    ]
    return found


def main() -> None:
    rows = list(csv.DictReader((DEMO / "facts.csv").read_text(encoding="utf-8").splitlines()))
    phrasings = json.loads((DEMO / "relations.json").read_text(encoding="utf-8"))
    subjects = Counter(row["subject"] for row in rows)
    counts = {
        "facts": len(rows),
        "relations": len({row["relation"] for row in rows}),
        "subjects": len(subjects),
        "subjects with two facts or more": sum(n > 1 for n in subjects.values()),
        "facts with a held-out phrasing": sum(bool(row["held_out"]) for row in rows),
    }
    found = problems(rows, phrasings)
    found += [
        f"{counts[name]} {name}, at least {least} wanted"
        for name, least in LEAST.items()
        if counts[name] < least
    ]
    print("\n".join(found or [f"{n:6,} {name}" for name, n in counts.items()]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
