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
    kl            mean KL(base ‖ edited) a token on the same texts, in nats
    fluency       entropy of pairs and triples of words in greedy continuations of edited
                  subjects, in bits (Meng et al. 2022): low where they repeat themselves

Shares have Wilson's interval, the others that of a mean over texts. Methods: `joint` and
`rome-loci` are Loci's, `rome`, `memit`, `alphaedit`, `ft-l` the published procedures
(`published_editors`), `ft-bf` breadth-first fine-tuning with a KL term and `lora` an adapter
(`tuned_editors`); `in-context` says all edits in front of every prompt, `retrieval` the one that
fits best; `none` is the base. Seconds are of the processor.
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
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from benchmarks.judge import Judge, Prefix, no_prefix
from benchmarks.known import Known, kept_in, known_facts, of_relation, others_of
from benchmarks.published_editors import PREFIXES, PUBLISHED, published
from benchmarks.tuned_editors import adapted, breadth_first, retrieved, told
from loci.editing.edit import edit
from loci.facts import Fact
from loci.model import open_model
from loci.patches import apply_to_folder
from loci.stats import Estimate, share
from loci.text import background

METHODS = (
    "none",
    "in-context",
    "retrieval",
    "joint",
    "rome-loci",
    "rome",
    "memit",
    "alphaedit",
    "ft-l",
    "ft-bf",
    "lora",
)
UNRELATED = "The weather was fine that day, and the market was full of people. "
SUBJECTS, NEAR, SAMPLES, SPOKEN = 24, 8, 16, 16

Targets = dict[int, list[torch.Tensor]]
"""δ by layer, which MEMIT and AlphaEdit share: the second of them takes no time for it."""


@dataclass(frozen=True)
class Task:
    """Edits, and what is asked of each edited model: prompts with the answer that is right then, by
    metric.
    """

    facts: list[Fact]
    asked: dict[str, list[tuple[str, str]]]
    texts: list[str]


def keys_of(fact: Known) -> set[tuple[str, ...]]:
    """Two facts with a key in common are one: of one relation and subject, or of one subject and
    answer.
    """
    return {("relation", fact.relation, fact.subject), ("answer", fact.subject, fact.answer)}


def task_of(judge: Judge, data: Path, known: Sequence[Known], edits: int, seed: int) -> Task:
    rng = random.Random(seed + 1)
    by_relation = defaultdict(list)
    for fact in known:
        by_relation[fact.relation].append(fact)
    pool = [f for own in by_relation.values() for f in rng.sample(own, of_relation(own, edits))]
    chosen = rng.sample(pool, min(edits, len(pool)))
    # a fact may stand in both collections: what is edited in one is asked by neither
    edited = {key for fact in chosen for key in keys_of(fact)}
    elsewhere = [f for f in [*known, *others_of(judge, data, chosen)] if not edited & keys_of(f)]
    asked, facts = defaultdict[str, list[tuple[str, str]]](list), list[Fact]()
    for fact in chosen:
        answers = sorted({other.answer for other in by_relation[fact.relation]} - {fact.answer})
        whole = Fact(fact.subject, fact.templates[0], fact.answer, relation=fact.relation)
        facts.append(whole.to(rng.choice(answers)))
    for fact, wish in zip(chosen, facts, strict=True):
        new = wish.new_answer or ""
        first, *others = fact.prompts()
        asked["efficacy"].append((first, new))
        asked["paraphrase"] += [
            (text, new) for prompt in others for text in (prompt, UNRELATED + prompt)
        ]
        near = [other for other in by_relation[fact.relation] if not edited & keys_of(other)]
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
    spare = [f"{f.prompts()[0]} {f.answer}." for f in known if not edited & keys_of(f)]
    texts = [*judge.samples(SAMPLES, seed + 1_000), *rng.sample(spare, min(len(spare), SAMPLES))]
    return Task(
        facts, {metric: list(dict.fromkeys(pairs)) for metric, pairs in asked.items()}, texts
    )


def row(
    base: Judge,
    judge: Judge,
    task: Task,
    seconds: float,
    prefix: Prefix = no_prefix,
) -> dict[str, Any]:
    """The figures of one method."""
    pairs = [pair for pairs in task.asked.values() for pair in pairs]
    gives = dict(zip(pairs, judge.gives(pairs, prefix), strict=True))
    shares = {
        metric: share([gives[pair] for pair in task.asked.get(metric, [])])
        for metric in ("efficacy", "paraphrase", "specificity", "same_subject")
    }
    gained, divergence = judge.drift(base, task.texts)
    ratio = interval(gained)
    perplexity = Estimate(*map(math.exp, (ratio.value, ratio.low, ratio.high)), ratio.n)
    means = {"perplexity": perplexity, "kl": interval(divergence)}
    means["fluency"] = interval(judge.fluency([fact.subject for fact in task.facts[:SPOKEN]]))
    return {
        **{name: value.to_dict() for name, value in {**shares, **means}.items()},
        "seconds": seconds,
    }


def interval(values: Sequence[float]) -> Estimate:
    """A mean with its 95 % interval."""
    mean, half = fmean(values), 1.96 * stdev(values) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half, len(values))


def edited(
    method: str, source: Path, facts: Sequence[Fact], seed: int, targets: Targets, folder: Path
) -> float:
    """Write the model as a method changes it to a folder; the processor time of the method."""
    started = time.process_time()
    if method == "lora":
        adapted(source, facts, seed, folder)
        return time.process_time() - started
    model = open_model(str(source))
    started = time.process_time()
    if method in PUBLISHED:
        prefixes = background(model).beginnings(PREFIXES, seed)
        patch = published(model, facts, method, prefixes, targets)
    elif method == "ft-bf":
        patch = breadth_first(model, facts, seed)
    else:
        patch = edit(model, facts, method=method.removesuffix("-loci"), seed=seed, report=False)
    seconds = time.process_time() - started
    apply_to_folder(patch, model, folder)
    return seconds


def rows_for(
    source: Path, task: Task, methods: Sequence[str], seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    base = Judge.of(source, source)
    said = "".join(map(told, task.facts))
    prefixes: dict[str, Prefix] = {
        "none": no_prefix,
        "in-context": lambda _: said,
        "retrieval": retrieved(task.facts),
    }
    targets: Targets = {}
    for method in methods:
        if method in prefixes:
            yield method, row(base, base, task, 0.0, prefixes[method])
        elif method != "rome-loci" or len(task.facts) == 1:
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / "edited"
                seconds = edited(method, source, task.facts, seed, targets, folder)
                yield method, row(base, Judge.of(folder, source), task, seconds)


def line(method: str, found: Mapping[str, Any]) -> str:
    parts = [f"{method:11}"]
    for name in ("efficacy", "paraphrase", "specificity", "same_subject", "perplexity"):
        each = found[name]
        parts.append(
            f"{name} –"
            if not each["n"]
            else f"{name} {each['value']:.3f} [{each['low']:.2f}, {each['high']:.2f}] n={each['n']}"
        )
    parts += [f"{name} {found[name]['value']:.3f}" for name in ("kl", "fluency")]
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
