"""Edits of a real model, judged by plain transformers on a folder that `patch apply` wrote.

    python -m benchmarks.real_edits --model FOLDER --data FOLDER --quick
        10 edits, a few relations
    python -m benchmarks.real_edits --model FOLDER --data FOLDER --edits 1 10 100 --json

`--data` holds other people's facts: `relations/factual/*.json` (LRE, Hernandez et al. 2024) and
`pararel/*.json` (Elazar et al. 2021). A fact is known where the base's greedy continuation of a
template begins with its answer. Its new answer is drawn from the same relation's known answers.
Nothing of Loci's is in the judge:

    efficacy      the greedy continuation of the prompt begins with the new answer,
                  and a word ends there
    paraphrase    the same in the relation's other templates in which the base said the old one,
                  bare and behind an unrelated sentence
    specificity   known facts about other subjects of the relation, as the base said them
    same_subject  known facts of other relations about an edited subject
    perplexity    exp of the mean change of −log P a token, on texts that the base samples with a
                  seed of its own, and on known facts

Shares have Wilson's interval, perplexity that of a mean over texts. Methods: `joint`
and `rome-loci` are Loci's, `rome`, `memit`, `alphaedit`, `ft-l` the
published procedures (`published_editors`), `in-context` says all edits in front of every prompt,
`none` is the base. Seconds are of the processor.
"""

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeVar

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from loci.editing.edit import edit
from loci.facts import Fact
from loci.model import open_model
from loci.patches import Patch, apply_to_folder
from loci.stats import Estimate, share
from loci.text import background

METHODS = (
    "none",
    "in-context",
    "joint",
    "rome-loci",
    "rome",
    "memit",
    "alphaedit",
    "ft-l",
)
PUBLISHED = ("rome", "memit", "alphaedit", "ft-l")
UNRELATED = "The weather was fine that day, and the market was full of people. "
SUBJECTS, NEAR, SAMPLES, FIRST, OTHERS = 24, 8, 16, 4, 2


T = TypeVar("T")
Targets = dict[int, list[torch.Tensor]]
"""δ by layer, which MEMIT and AlphaEdit share: the second of them takes no time for it."""


class Judge:
    """A model in plain transformers."""

    def __init__(self, hf: Any, tokenizer: Any) -> None:
        self.hf, self.tokenizer = hf, tokenizer
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    @classmethod
    def of(cls, folder: Path, tokenizer: Path) -> "Judge":
        return cls(
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(),
            AutoTokenizer.from_pretrained(tokenizer),
        )

    @torch.no_grad()
    def gives(self, asked: Sequence[tuple[str, str]], prefix: str = "") -> list[bool]:
        """Whether the greedy continuation of each prompt begins with the answer, at a word's end.

        Greedy decoding gives the answer if and only if each of its tokens is the likeliest where it
        stands, so all are read in one pass. Pairs are asked once.
        """
        rows = {}
        for prompt, answer in dict.fromkeys(asked):
            text = prefix + prompt.rstrip()
            before = self.tokenizer(text).input_ids
            whole = self.tokenizer(f"{text} {answer.strip()}").input_ids
            same = next(
                (i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b),
                len(before),
            )
            rows[prompt, answer] = whole, len(whole) - same
        order = sorted(rows, key=lambda pair: (rows[pair][1], len(rows[pair][0])))
        found: dict[tuple[str, str], bool] = {}
        for some in batches(order, 32):
            ids = self.tokenizer.pad(
                {"input_ids": [rows[pair][0] for pair in some]},
                padding_side="left",
                return_tensors="pt",
            )
            most = max(rows[pair][1] for pair in some)
            places = (ids["attention_mask"].cumsum(-1) - 1).clamp(min=0)
            best = self.hf(**ids, position_ids=places, logits_to_keep=most + 1).logits.argmax(-1)
            for pair, row in zip(some, best.tolist(), strict=True):
                whole, count = rows[pair]
                behind = self.tokenizer.decode(row[-1:])
                found[pair] = row[-count - 1 : -1] == whole[-count:] and not behind[:1].isalnum()
        return [found[pair] for pair in asked]

    @torch.no_grad()
    def surprise(self, texts: Sequence[str]) -> list[float]:
        """Mean −log P a token of each text."""
        found = []
        for text in texts:
            ids = self.tokenizer(text, return_tensors="pt").input_ids
            said = self.hf(ids).logits[0, :-1].log_softmax(-1)
            found.append(-float(said.gather(-1, ids[0, 1:, None]).mean()))
        return found

    @torch.no_grad()
    def samples(self, count: int, seed: int) -> list[str]:
        torch.manual_seed(seed)
        begin = self.tokenizer("The", return_tensors="pt").input_ids.expand(count, -1)
        made = self.hf.generate(
            begin,
            attention_mask=torch.ones_like(begin),
            max_new_tokens=24,
            do_sample=True,
            top_k=0,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return [
            text
            for text in self.tokenizer.batch_decode(made, skip_special_tokens=True)
            if len(text.split()) > 4
        ]


def batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


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


@dataclass(frozen=True)
class Task:
    """Edits, and what is asked of each edited model: prompts with the answer that is right then, by
    metric.
    """

    facts: list[Fact]
    asked: dict[str, list[tuple[str, str]]]
    texts: list[str]


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


def task_of(judge: Judge, data: Path, known: Sequence[Known], edits: int, seed: int) -> Task:
    rng = random.Random(seed + 1)
    by_relation = defaultdict(list)
    for fact in known:
        by_relation[fact.relation].append(fact)
    pool = [f for own in by_relation.values() for f in rng.sample(own, of_relation(own, edits))]
    chosen = rng.sample(pool, min(edits, len(pool)))
    edited = {(fact.relation, fact.subject) for fact in chosen}
    elsewhere = [
        f
        for f in [*known, *others_of(judge, data, chosen)]
        if (f.relation, f.subject) not in edited
    ]
    facts, asked = list[Fact](), defaultdict[str, list[tuple[str, str]]](list)
    for fact in chosen:
        new = rng.choice(
            sorted({other.answer for other in by_relation[fact.relation]} - {fact.answer})
        )
        facts.append(
            Fact(fact.subject, fact.templates[0], fact.answer, relation=fact.relation).to(new)
        )
        first, *others = fact.prompts()
        asked["efficacy"].append((first, new))
        asked["paraphrase"] += [
            (text, new) for prompt in others for text in (prompt, UNRELATED + prompt)
        ]
        near = [
            other
            for other in by_relation[fact.relation]
            if (other.relation, other.subject) not in edited
        ]
        for other in rng.sample(near, min(len(near), NEAR)):
            asked["specificity"] += [(prompt, other.answer) for prompt in other.prompts()[:2]]
        for other in elsewhere:
            if other.subject == fact.subject and other.answer != fact.answer:
                asked["same_subject"] += [(prompt, other.answer) for prompt in other.prompts()]
    old = {
        UNRELATED * behind + p: f.answer
        for f in chosen
        for p in f.prompts()[1:]
        for behind in (0, 1)
    }
    gives = judge.gives([(prompt, old[prompt]) for prompt, _ in asked["paraphrase"]])
    asked["paraphrase"] = [
        pair for pair, given in zip(asked["paraphrase"], gives, strict=True) if given
    ]
    spare = [
        f"{f.prompts()[0]} {f.answer}." for f in known if (f.relation, f.subject) not in edited
    ]
    texts = [*judge.samples(SAMPLES, seed + 1_000), *rng.sample(spare, min(len(spare), SAMPLES))]
    return Task(
        facts, {metric: list(dict.fromkeys(pairs)) for metric, pairs in asked.items()}, texts
    )


def row(
    judge: Judge, task: Task, before: Sequence[float], seconds: float, prefix: str = ""
) -> dict[str, Any]:
    """The figures of one method."""
    pairs = [pair for pairs in task.asked.values() for pair in pairs]
    gives = dict(zip(pairs, judge.gives(pairs, prefix), strict=True))
    shares = {
        metric: share([gives[pair] for pair in task.asked.get(metric, [])])
        for metric in ("efficacy", "paraphrase", "specificity", "same_subject")
    }
    gained = [now - then for now, then in zip(judge.surprise(task.texts), before, strict=True)]
    half = 1.96 * stdev(gained) / math.sqrt(len(gained))
    perplexity = Estimate(*(math.exp(fmean(gained) + x) for x in (0, -half, half)), len(gained))
    return {
        **{name: value.to_dict() for name, value in {**shares, "perplexity": perplexity}.items()},
        "seconds": seconds,
    }


def patch_by(
    method: str, source: Path, facts: Sequence[Fact], seed: int, targets: Targets
) -> tuple[Patch, float, Any]:
    """A patch, the processor time that it took, and the model it is for."""
    from benchmarks.published_editors import PREFIXES, published

    model = open_model(str(source))
    started = time.process_time()
    if method in PUBLISHED:
        prefixes = background(model).beginnings(PREFIXES, seed)
        made = published(model, facts, method, prefixes, targets)
    else:
        made = edit(model, facts, method=method.removesuffix("-loci"), seed=seed, report=False)
    return made, time.process_time() - started, model


def rows_for(
    source: Path, task: Task, methods: Sequence[str], seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    base = Judge.of(source, source)
    before = base.surprise(task.texts)
    said = "".join(f"{fact.text} {fact.new_answer}. " for fact in task.facts)
    targets: Targets = {}
    for method in methods:
        if method in ("none", "in-context"):
            yield method, row(base, task, before, 0.0, said if method == "in-context" else "")
        elif method != "rome-loci" or len(task.facts) == 1:
            patch, seconds, model = patch_by(method, source, task.facts, seed, targets)
            with tempfile.TemporaryDirectory() as folder:
                apply_to_folder(patch, model, Path(folder) / "edited")
                del model
                yield method, row(Judge.of(Path(folder) / "edited", source), task, before, seconds)


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


def line(method: str, found: Mapping[str, Any]) -> str:
    parts = [f"{method:11}"]
    for name in ("efficacy", "paraphrase", "specificity", "same_subject", "perplexity"):
        each = found[name]
        parts.append(
            f"{name} –"
            if not each["n"]
            else f"{name} {each['value']:.3f} [{each['low']:.2f}, {each['high']:.2f}] n={each['n']}"
        )
    return "  ".join([*parts, f"{found['seconds']:.0f} s"])


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, required=True, help="a folder that transformers loads"
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder with relations/ and pararel/"
    )
    parser.add_argument(
        "--edits", type=int, nargs="+", help="numbers of edits: 1 10 100, or with --quick 10"
    )
    parser.add_argument("--known", type=Path, help="a file in which known facts are kept")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="10 edits, fewer subjects a relation")
    parser.add_argument(
        "--json", action="store_true", help="one document a number of edits, on stdout"
    )
    given = parser.parse_args(words)
    for edits in given.edits or ([10] if given.quick else [1, 10, 100]):
        base = Judge.of(given.model, given.model)
        most = SUBJECTS // 2 if given.quick else SUBJECTS
        known = kept_in(
            given.known, partial(known_facts, base, given.data, edits, given.seed, most)
        )
        task = task_of(base, given.data, known, edits, given.seed)
        del base
        rows = {}
        for method, found in rows_for(given.model, task, given.methods, given.seed):
            rows[method] = found
            print(line(method, found), file=sys.stderr, flush=True)
        document = {
            "schema": "loci.real_edits/1",
            "model": given.model.name,
            "seed": given.seed,
            "edits": len(task.facts),
            "rows": rows,
        }
        if given.json:
            print(json.dumps(document), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
