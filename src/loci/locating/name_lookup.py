"""Is the model a look-up table of names? The fact-finding tests on one relation, together.

1. From which layer on can the attribute be read, and how little of the model does that take
   (two_tokens)?
2. Is a name looked up in a single step, by neurons that are ANDs of its parts (single_step)?
3. Do the same neurons serve all facts of a subject (effects)?
4. How local is what the layers make of a token (context)?

The gate of the lesson, one neuron a fact, predicts: readable at once, share 1, correlation 1.
Source: Nanda et al. 2023 (Fact Finding).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from loci.errors import FactError, ModelError
from loci.facts import Fact
from loci.locating.context import LocalContext, local_context
from loci.locating.neuron_effects import PAIRS, Effects, effects
from loci.locating.probing import Probe, probe
from loci.locating.single_step_lookup import SingleStep, single_step
from loci.locating.two_token_names import TwoTokens, two_tokens
from loci.model import Model
from loci.model.given import facts_given, model_given
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.tables import Column, Table
from loci.text import sample_text

TEXT_TOKENS = 6000
PARTS = ("probe", "two_tokens", "single_step", "effects", "context")


@dataclass(frozen=True, kw_only=True)
class Lookup(Result):
    """The results of the tests, each None where the model or the facts do not allow it, with the
    reason in `missing`.
    """

    about: ClassVar[About] = About(
        "is it a look-up?",
        "Is an answer looked up at the name in one step, or gathered over layers?",
        "Each panel is one test; the words below say what it shows.",
        "lookup.lookup_figure",
    )

    model: str
    bos: bool
    relation: str
    probe: Probe | None
    two_tokens: TwoTokens | None
    single_step: SingleStep | None
    effects: Effects | None
    context: LocalContext | None
    missing: dict[str, str]

    @property
    def words(self) -> str:
        """The findings of the tests, a sentence each."""
        return "\n".join(
            [
                *self._found(),
                *(f"Not asked ({name}): {reason}." for name, reason in self.missing.items()),
            ]
        )

    def _found(self) -> Iterator[str]:
        if self.two_tokens:
            best = {
                condition: max(row[1:], key=lambda e: e.value)
                for condition, row in self.two_tokens.accuracy.items()
            }
            yield (
                f"Held-out names are read at best to {best['whole prompt'].value:.0%}; the name"
                f" alone to {best['subject alone'].value:.0%}, with attention below layer"
                f" {self.two_tokens.heads_below} only to {best['attention by its mean'].value:.0%},"
                f" its last two tokens to {best['two tokens'].value:.0%}, the sum of its embeddings"
                f" to {self.two_tokens.summed.value:.0%}; the commonest answer is right in"
                f" {self.two_tokens.commonest.value:.0%}."
            )
        if self.single_step:
            yield (
                f"After layer {self.single_step.read_after}, MLPs write"
                f" {self.single_step.mlp_share.value:.0%} (median of {self.single_step.share.n}"
                " names) of what a name says beyond its parts; ANDs of the parts in a single step"
                f" explain {self.single_step.share.told('.0%')}. One neuron a fact would explain"
                " 100 %."
            )
        if self.effects:
            means = self.effects.means
            same, other, control = (means[pair] for pair in PAIRS)
            yield (
                f"Single neurons' effects correlate by {same.value:.2f} between phrasings of one"
                f" fact, by {other.told('.2f')} between two facts of one subject, by"
                f" {control.value:.2f} between two subjects."
            )
        if self.context:
            row = self.context.similarity[max(self.context.similarity)]
            layers = [e.value for e in row[1:]]
            yield (
                f"Behind {max(self.context.similarity)} tokens alone a token is {layers[0]:.2f}"
                f" similar to itself behind its whole context after layer 0, and {layers[-1]:.2f}"
                " after the last."
            )

    def summary(self) -> tuple[str, ...]:
        return (self.words,)

    def title(self) -> str:
        return f"Fact finding on {self.relation}, {self.model}"

    def tables(self) -> tuple[Table, ...]:
        if not self.two_tokens:
            return ()
        accuracy = self.two_tokens.accuracy
        rows = tuple((name, *own) for name, own in accuracy.items())
        layers = range(len(rows[0]) - 2)
        heads = (Column("held-out accuracy after"), Column("start", ".0%"))
        numbered = tuple(Column(str(layer), ".0%") for layer in layers)
        return (Table("By layer", (*heads, *numbered), rows, heat=1.0),)

    def to_dict(self) -> dict[str, Any]:
        plain = {
            "model": self.model,
            "bos": self.bos,
            "relation": self.relation,
            "missing": self.missing,
        }
        parts = {
            part: result.to_dict() if (result := getattr(self, part)) else None for part in PARTS
        }
        return {"schema": "loci.lookup/1", **plain, **parts}


def lookup(
    model: Model,
    facts: Fact | Sequence[Fact],
    relation: str,
    *,
    texts: Sequence[str] = (),
    count: int = 24,
    neurons: int = 1536,
    seed: int = 0,
    progress: Progress = silent,
) -> Lookup:
    """Run all tests on one relation's facts; `texts` for the last one are the background text where
    none are given; `neurons`: how many are ablated alone for every fact of the fourth.

        loci.lookup(model, facts, "athlete_sport")

    What cannot be asked of a model or of these facts is left out, with the reason. Raises
    `FactError` for an unknown relation.
    """
    model_given(model)
    facts = facts_given(facts)
    asked = facts.of(relation)
    texts = texts or sample_text(model, TEXT_TOKENS)
    tests: dict[str, Callable[[], Any]] = {
        "probe": lambda: probe(model, asked, seed=seed),
        "two_tokens": lambda: two_tokens(model, asked, seed=seed),
        "single_step": lambda: single_step(model, asked, count=count, seed=seed),
        "effects": lambda: effects(
            model,
            facts,
            [fact.subject for fact in asked],
            count=count // 2,
            neurons=neurons,
            seed=seed,
        ),
        "context": lambda: local_context(model, texts),
    }
    parts: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, test in tests.items():
        try:
            parts[name] = test()
        except (FactError, ModelError) as error:
            parts[name], missing[name] = None, str(error)
        progress(1, len(tests))
    return Lookup(model=model.name, bos=model.with_bos, relation=relation, missing=missing, **parts)
