"""Facts of other people's collections that a base model says."""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.judge import Judge

FIRST, OTHERS = 4, 2


def relations(folder: Path) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Name, templates with {}, and answers by subject;
    subjects with several answers are left out.
    """
    for path in sorted([*folder.glob("relations/factual/*.json"), *folder.glob("pararel/*.json")]):
        said = json.loads(path.read_text(encoding="utf-8"))
        if "samples" in said:
            templates = [*said["prompt_templates"], *said["prompt_templates_zs"]]
            pairs = [(each["subject"], each["object"]) for each in said["samples"]]
        else:
            templates, pairs = said["prompts"], [tuple(pair) for pair in said["facts"]]
        answers = defaultdict(set)
        for subject, answer in pairs:
            answers[subject].add(answer)
        one = {subject: next(iter(own)) for subject, own in answers.items() if len(own) == 1}
        templates = [t for t in dict.fromkeys(templates) if t.count("{}") == 1 and "?" not in t]
        if templates and len(set(one.values())) > 2:
            yield path.stem, templates, one


@dataclass(frozen=True)
class Known:
    """A fact that the base says: the templates in which it does."""

    relation: str
    subject: str
    answer: str
    templates: tuple[str, ...]

    def prompts(self) -> list[str]:
        return [template.replace("{}", self.subject) for template in self.templates]


def known_facts(judge: Judge, data: Path, edits: int, seed: int, most: int) -> list[Known]:
    """Facts of relations in a seeded order, until there are enough for the edits and their
    neighbours. Relations of which the base says nothing about the first few subjects are passed
    over.
    """
    rng, found = random.Random(seed), list[Known]()
    chosen = list(relations(data))
    rng.shuffle(chosen)
    used = 0
    for name, templates, answers in chosen:
        some = rng.sample(sorted(answers), min(len(answers), most))
        own = _held(judge, name, templates[:FIRST], some[:FIRST], answers)
        if own:
            own = _held(judge, name, templates, some, answers)
        if len(own) > 3 and len({fact.answer for fact in own}) > 1:
            found, used = [*found, *own], used + of_relation(own, edits)
        if used >= edits:
            break
    return found


def of_relation(known: Sequence[Known], edits: int) -> int:
    """How many facts of a relation are edited: half at most, and a quarter of all edits."""
    return min(len(known) // 2, max(1, edits // 4))


def _held(
    judge: Judge,
    name: str,
    templates: Sequence[str],
    subjects: Sequence[str],
    answers: Mapping[str, str],
) -> list[Known]:
    """What the base knows of some subjects."""
    pairs = [(subject, template) for subject in subjects for template in templates]
    gives = judge.gives([(t.replace("{}", subject), answers[subject]) for subject, t in pairs])
    held = defaultdict[str, list[str]](list)
    for (subject, template), given in zip(pairs, gives, strict=True):
        if given:
            held[subject].append(template)
    return [Known(name, subject, answers[subject], tuple(own)) for subject, own in held.items()]


def others_of(judge: Judge, data: Path, known: Sequence[Known]) -> list[Known]:
    """What the base knows about the same subjects by other relations."""
    found, own = list[Known](), {(fact.relation, fact.subject) for fact in known}
    subjects = {fact.subject for fact in known}
    for name, templates, answers in relations(data):
        shared = sorted(s for s in subjects & set(answers) if (name, s) not in own)
        found += _held(judge, name, templates[:OTHERS], shared, answers) if shared else []
    return found


def kept_in(file: Path | None, find: Callable[[], list[Known]]) -> list[Known]:
    """Known facts of a file, which is written if it is not there."""
    if file is not None and file.exists():
        rows = [json.loads(row) for row in file.read_text(encoding="utf-8").splitlines()]
        return [Known(**row | {"templates": tuple(row["templates"])}) for row in rows]
    found = find()
    if file is not None:
        rows = [json.dumps(asdict(fact), ensure_ascii=False) for fact in found]
        file.write_text("\n".join(rows), encoding="utf-8")
    return found
