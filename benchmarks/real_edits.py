"""Edits of a real model, judged by plain transformers on a folder that `patch apply` wrote.

    python -m benchmarks.real_edits --model FOLDER --data FOLDER --quick
        10 edits, a few relations
    python -m benchmarks.real_edits --model FOLDER --data FOLDER --edits 1 10 100 --json

`--data` holds other people's facts: `relations/factual/*.json` (LRE, Hernandez et al. 2024) and
`pararel/*.json` (Elazar et al. 2021). A fact is known where the base's greedy continuation of a
template begins with its answer. Its new answer is drawn from the same relation's known answers.
Nothing of Loci's is in the judge:

    efficacy      the greedy continuation of the prompt begins with the new answer
    paraphrase    the same in the relation's other templates in which the base said the old one,
                  bare and behind an unrelated sentence
    specificity   known facts about other subjects of the relation, as the base said them
    same_subject  known facts of other relations about an edited subject
    perplexity    exp of the mean change of −log P a token, on texts that the base samples with a
                  seed of its own, and on known facts

Shares have Wilson's interval, perplexity that of a mean over texts. Methods: `joint` and
`rome-loci` are Loci's, `rome`, `memit`, `alphaedit`, `ft-l` the published procedures
(`published_editors`), `in-context` says all edits in front of every prompt, `none` is the base.
"""

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from loci.editing.edit import edit
from loci.facts import Fact
from loci.model import open_model
from loci.patches import Patch, apply_to_folder
from loci.stats import Estimate, share
from loci.text import background

METHODS = ("none", "in-context", "joint", "rome-loci", "rome", "memit", "alphaedit", "ft-l")
PUBLISHED = ("rome", "memit", "alphaedit", "ft-l")
UNRELATED = "The weather was fine that day, and the market was full of people. "
SUBJECTS, NEAR, TOKENS, SAMPLES = 16, 8, 6, 24


class Judge:
    """A folder in plain transformers."""

    def __init__(self, folder: Path, tokenizer: Path) -> None:
        self.hf = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer, padding_side="left")
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    @torch.no_grad()
    def says(self, prompts: Sequence[str]) -> dict[str, str]:
        """Greedy continuations."""
        found = {}
        for some in batches(sorted(set(prompts), key=len), 32):
            asked = self.tokenizer(some, return_tensors="pt", padding=True)
            made = self.hf.generate(
                **asked,
                max_new_tokens=TOKENS,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
            )
            texts = self.tokenizer.batch_decode(
                made[:, asked.input_ids.shape[1] :], skip_special_tokens=True
            )
            found |= dict(zip(some, texts, strict=True))
        return found

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
            max_new_tokens=32,
            do_sample=True,
            top_k=0,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return [
            text
            for text in self.tokenizer.batch_decode(made, skip_special_tokens=True)
            if len(text.split()) > 4
        ]


def batches(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def begins(text: str, answer: str) -> bool:
    """Whether a continuation begins with an answer, at a word's end."""
    said, wanted = text.strip().casefold(), answer.strip().casefold()
    return said.startswith(wanted) and not said[len(wanted) : len(wanted) + 1].isalnum()


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
    neighbours.
    """
    rng, found = random.Random(seed), list[Known]()
    chosen = list(relations(data))
    rng.shuffle(chosen)
    used = 0
    for name, templates, answers in chosen:
        some = rng.sample(sorted(answers), min(len(answers), most))
        says = judge.says([t.replace("{}", subject) for t in templates for subject in some])
        own = []
        for subject in some:
            held = tuple(
                t for t in templates if begins(says[t.replace("{}", subject)], answers[subject])
            )
            if held:
                own.append(Known(name, subject, answers[subject], held))
        if len(own) > 3 and len({fact.answer for fact in own}) > 1:
            found, used = [*found, *own], used + len(own) // 2
        if used >= edits:
            break
    return found


def task_of(judge: Judge, known: Sequence[Known], edits: int, seed: int) -> Task:
    rng = random.Random(seed + 1)
    by_relation = defaultdict(list)
    for fact in known:
        by_relation[fact.relation].append(fact)
    pool = [fact for own in by_relation.values() for fact in rng.sample(own, len(own) // 2)]
    chosen = rng.sample(pool, min(edits, len(pool)))
    edited = {(fact.relation, fact.subject) for fact in chosen}
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
            asked["specificity"].append((other.prompts()[0], other.answer))
        same = [
            other
            for other in known
            if other.subject == fact.subject and (other.relation, other.subject) not in edited
        ]
        asked["same_subject"] += [(other.prompts()[0], other.answer) for other in same]
    says = judge.says([prompt for prompt, _ in asked["paraphrase"]])
    old = {
        UNRELATED * behind + p: f.answer
        for f in chosen
        for p in f.prompts()[1:]
        for behind in (0, 1)
    }
    asked["paraphrase"] = [
        (prompt, new) for prompt, new in asked["paraphrase"] if begins(says[prompt], old[prompt])
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
    says = judge.says([prefix + prompt for pairs in task.asked.values() for prompt, _ in pairs])
    shares = {
        metric: share(
            [begins(says[prefix + prompt], answer) for prompt, answer in task.asked.get(metric, [])]
        )
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
    method: str, source: Path, facts: Sequence[Fact], seed: int
) -> tuple[Patch, float, Any]:
    """A patch, the processor time that it took, and the model it is for."""
    from benchmarks.published_editors import PREFIXES, published

    model = open_model(str(source))
    started = time.process_time()
    if method in PUBLISHED:
        made = published(model, facts, method, background(model).beginnings(PREFIXES, seed))
    else:
        made = edit(model, facts, method=method.removesuffix("-loci"), seed=seed, report=False)
    return made, time.process_time() - started, model


def rows_for(
    source: Path, task: Task, methods: Sequence[str], seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    base = Judge(source, source)
    before = base.surprise(task.texts)
    said = "".join(f"{fact.text} {fact.new_answer}. " for fact in task.facts)
    for method in methods:
        if method in ("none", "in-context"):
            yield method, row(base, task, before, 0.0, said if method == "in-context" else "")
        elif method != "rome-loci" or len(task.facts) == 1:
            patch, seconds, model = patch_by(method, source, task.facts, seed)
            with tempfile.TemporaryDirectory() as folder:
                apply_to_folder(patch, model, Path(folder) / "edited")
                del model
                yield method, row(Judge(Path(folder) / "edited", source), task, before, seconds)


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
    parser.add_argument("--edits", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="10 edits, fewer subjects a relation")
    parser.add_argument(
        "--json", action="store_true", help="one document a number of edits, on stdout"
    )
    given = parser.parse_args(words)
    for edits in [10] if given.quick else given.edits:
        base = Judge(given.model, given.model)
        known = known_facts(
            base, given.data, edits, given.seed, SUBJECTS // 2 if given.quick else SUBJECTS
        )
        task = task_of(base, known, edits, given.seed)
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
