"""What the text does that an edit goes by: the same edits of a real model with each of three.

    python -m benchmarks.text_sources MODEL --facts known.jsonl [--edits 5] [--layer 4]

`--facts` holds facts that the model knows (`loci facts discover -o`). One fact of each of the
relations with most known facts gets another answer of its relation, by ROME in one given layer, so
that nothing differs but the text:

    user's        half of the reference pages that Python carries (`pydoc_data.topics`)
    own samples   what the model samples itself, the default
    embedded      the sentences of the embedded corpus, which the model never said

Judged are the other known facts of the edited one's relation (specificity: still said), the edit's
own prompts, and the change of −log P a token on the other half of Python's pages (`near`) and on
prose of another kind, the pages of this project's documentation (`far`): perplexity is multiplied
by exp of it.
"""

import argparse
import math
import random
from collections.abc import Sequence
from pathlib import Path
from pydoc_data import topics
from statistics import fmean

import torch

from loci.editing.edit import edit
from loci.facts import Fact, load_facts
from loci.facts.matching import matches
from loci.model import Model, complete, open_model
from loci.stats import mean, share
from loci.text import background, corpus_texts

TOKENS, TEXTS, OTHERS, LENGTH = 8_192, 24, 12, 64
DOCS = Path(__file__).parents[1] / "docs"


def paragraphs(pages: Sequence[str]) -> list[str]:
    """Prose of pages: paragraphs of 20 words and more, without tables, lists and code."""
    parts = [" ".join(part.split()) for page in pages for part in page.split("\n\n")]
    return [part for part in parts if len(part.split()) >= 20 and part[0].isupper()]


@torch.no_grad()
def surprise(model: Model, texts: Sequence[str]) -> list[float]:
    """Mean −log P a token of the first `LENGTH` tokens of each text, in nats."""
    found = []
    for text in texts:
        ids = model.ids([model.tokenize(text).ids[:LENGTH]])
        log_probs = model(ids)[0, :-1].float().log_softmax(-1)
        found.append(-float(log_probs.gather(-1, ids[0, 1:, None]).mean()))
    return found


def chosen(facts: Sequence[Fact], edits: int, seed: int) -> list[tuple[Fact, list[Fact]]]:
    """One fact with its new answer, and others of its relation, of as many relations."""
    rng, by_relation = random.Random(seed), dict[str, list[Fact]]()
    for fact in facts:
        by_relation.setdefault(fact.relation or "", []).append(fact)
    largest = sorted(by_relation.values(), key=len, reverse=True)
    found = []
    for own in largest:
        answers = sorted({fact.answer for fact in own})
        if len(answers) < 3 or len(found) == edits:
            continue
        fact, *others = rng.sample(own, min(len(own), 1 + OTHERS))
        new = rng.choice([answer for answer in answers if answer != fact.answer])
        found.append((fact.to(new), others))
    return found


def row(
    model: Model, edits: Sequence[tuple[Fact, list[Fact]]], layer: int, texts: list[str] | None,
    natural: dict[str, list[str]],
) -> str:  # fmt: skip
    """The means over the edits with one text."""
    held, said, phrased = list[bool](), list[bool](), list[bool]()
    moved: dict[str, list[float]] = {name: [] for name in natural}
    before = {name: surprise(model, own) for name, own in natural.items()}
    for fact, others in edits:
        patch = edit(model, fact, method="rome", layers=[layer], texts=texts, report=False)
        with patch.applied(model):
            says = complete(model, [other.text for other in others], 6)
            held += [matches(s, other.answer) for s, other in zip(says, others, strict=True)]
            own = complete(model, [fact.text, *map(fact.fill, fact.paraphrases)], 6)
            said.append(matches(own[0], fact.answer))
            phrased += [matches(one, fact.answer) for one in own[1:]]
            for name, texts_of in natural.items():
                now = fmean(surprise(model, texts_of))
                moved[name].append(now - fmean(before[name]))
    cells = [share(said), share(phrased), share(held)]
    told = " | ".join(f"{own.told('.2f')} ({own.n})" for own in cells)
    ratios = (mean(values) for values in moved.values())
    return told + " | " + " | ".join(
        f"{math.exp(r.value):.4f} [{math.exp(r.low):.4f}, {math.exp(r.high):.4f}]" for r in ratios
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--facts", required=True)
    parser.add_argument("--edits", type=int, default=5)
    parser.add_argument("--layer", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model = open_model(given.model)
    layer = model.n_layers // 4 if given.layer is None else given.layer
    pages = [topics.topics[name] for name in sorted(topics.topics)]
    python, docs = paragraphs(pages), paragraphs([p.read_text() for p in sorted(DOCS.glob("*.md"))])
    natural = {"near": python[1::2][:TEXTS], "far": random.Random(0).sample(docs, TEXTS)}
    sources = {
        "user's": python[::2],
        "own samples": background(model, tokens=TOKENS).first(model, TOKENS),
        "embedded": list(corpus_texts()),
    }
    edits = chosen(load_facts(given.facts), given.edits, given.seed)
    print(f"{model.name}, ROME in layer {layer}: {len(edits)} edits", flush=True)
    print("text | answer | other phrasings | specificity | perplexity near | far", flush=True)
    for name, texts in sources.items():
        some, tokens = [], 0
        for text in texts:
            if tokens < TOKENS:
                some.append(text)
                tokens += len(model.tokenize(text))
        print(f"{name} | {row(model, edits, layer, some, natural)}", flush=True)


if __name__ == "__main__":
    main()
