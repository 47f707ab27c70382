"""A default edit of few facts: does it take, and do other subjects of the same relation keep their
answers?

    python -m benchmarks.few_facts
        # the embedded model, about 20 min
    python -m benchmarks.few_facts --counts 3 --kinds subject
    python -m benchmarks.few_facts --counts 1 --kinds removed
    python -m benchmarks.few_facts --model FOLDER --facts FACTS.jsonl
        # another model and facts that it knows

Facts and counterfactual answers are drawn with a seed, of one relation, of many, or of one subject,
or the answer is to be "unknown" (removed), as `loci edit --remove` asks. They are edited by
`loci.edit` with no setting at all. Asked are the new answers (efficacy), the facts' other phrasings
(paraphrase), and at most 40 subjects of each edited relation whose answer the base gives; none of
them was among the edit's own retain prompts, which the patch names. n counts prompts; intervals are
Wilson's, 95 %.
"""

import argparse
import random
import time
from collections.abc import Sequence

from loci.editing import removed
from loci.editing.edit import edit
from loci.facts import Fact, FactSet, known_facts, load_facts
from loci.model import Model, open_model, score_answers
from loci.patches import Patch
from loci.stats import Estimate, share

COUNTS = (1, 2, 3, 5, 20, 100)
KINDS = ("one", "many", "subject", "removed")
NEIGHBOURS = 40


def known_to(model: Model, world: Sequence[Fact]) -> FactSet:
    """The facts that the model answers."""
    scores = score_answers(model, [(fact.text, fact.answer) for fact in world])
    return FactSet(fact for fact, score in zip(world, scores, strict=True) if score.greedy)


def drawn(world: FactSet, count: int, kind: str, seed: int) -> list[Fact]:
    """Counterfactuals of one seeded relation that has enough subjects, of all, or of one seeded
    subject; or facts to be unlearnt.
    """
    rng = random.Random(seed)
    if kind == "removed":
        return [removed(fact, world) for fact in rng.sample(list(world), count)]
    large = [
        name for name, facts in sorted(world.relations.items()) if len(facts) >= count + NEIGHBOURS
    ]
    if kind == "subject":
        named = sorted({fact.subject for fact in world})
        pool = list(world.about(rng.choice([n for n in named if len(world.about(n)) >= count])))
    else:
        pool = list(world.of(rng.choice(large))) if kind == "one" else list(world)
    chosen = rng.sample(pool, count)
    return [
        fact.to(
            rng.choice([other for other in world.answers(fact.relation) if other != fact.answer])
        )
        for fact in chosen
    ]


def asked(
    model: Model, world: FactSet, facts: Sequence[Fact], patch: Patch, seed: int
) -> dict[str, Estimate]:
    """Shares of prompts that get the answer they should."""
    spared = set(patch.numbers.get("retained", ())) | {fact.text for fact in facts}
    near = dict[str, str]()
    for relation in dict.fromkeys(fact.relation for fact in facts if fact.relation):
        others = [other for other in world.of(relation) if other.text not in spared]
        near |= {
            o.text: o.answer
            for o in random.Random(seed).sample(others, min(NEIGHBOURS, len(others)))
        }
    questions = {
        "efficacy": [(fact.text, fact.new_answer or "") for fact in facts],
        "paraphrase": [
            (fact.fill(t), fact.new_answer or "") for fact in facts for t in fact.paraphrases
        ],
        "specificity": list(near.items()),
    }
    with patch.applied(model):
        return {
            name: share([s.greedy for s in score_answers(model, pairs)])
            for name, pairs in questions.items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--facts", help="a fact file; by default the embedded facts")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS[:2])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = open_model(options.model)
    world = known_to(model, list(load_facts(options.facts) if options.facts else known_facts()))
    print(
        "| facts | relations | method | text | efficacy | paraphrase | specificity | seconds"
        " |\n|---|---|---|---|---|---|---|---|"
    )
    for count in options.counts:
        for kind in options.kinds:
            facts = drawn(world, count, kind, options.seed)
            start = time.perf_counter()
            patch = edit(model, facts, seed=options.seed)
            seconds = time.perf_counter() - start
            cells = [
                f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}], n = {e.n}" if e.n else "–"
                for e in asked(model, world, facts, patch, options.seed).values()
            ]
            source = patch.numbers["text"]["source"]
            print(
                f"| {count} | {kind} | {patch.method} | {source} | {' | '.join(cells)} |"
                f" {seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
