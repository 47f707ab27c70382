"""Is it gone? A removed or changed fact, asked in every way that may bring its old answer back.

    asked, paraphrase, behind_text,   the old answer is said: to the prompt, in other words, behind
      few_shot, alias, two_hop        unrelated text, behind shots, under another name, one step on
    lens          the old answer is the likeliest word after some layer, at the prompt's last token
    probe         a linear probe of other subjects reads it at the subject's last token
    other_facts   it is said after a fine-tuning on other facts, as long as the relearning was
    relearning    steps of fine-tuning until it is said again, beside those in which it is learnt
                  of subjects that never had it

A test leaks where its share is more than `LEAK` above that of strangers (see `removal_tests`), or
relearning takes less than half of the steps that learning takes.

    gone      nothing leaks
    hidden    it is not said, but the lens, a probe or relearning finds it
    not gone  a question still brings it

Sources: Łucki et al. 2024 and "The unlearning mirage" (2603.11266) for the ways to ask;
2406.13356 for relearning.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from loci.result import About, Grade, Result
from loci.stats import Estimate
from loci.tables import Table, columns

LEAK = 0.1
SAVED = 0.5
INSIDE = ("lens", "probe", "relearning")
WORDS = {
    "asked": "asked as edited",
    "paraphrase": "in other words",
    "behind_text": "behind unrelated text",
    "few_shot": "behind other facts",
    "alias": "under another name",
    "two_hop": "one step on",
    "lens": "lens, at some layer",
    "probe": "probe at the subject",
    "other_facts": "after tuning on other facts",
    "relearning": "steps to relearn",
}
"""The tests, as a reader meets them."""


@dataclass(frozen=True)
class RemovalTest:
    """One way to bring the old answer back."""

    name: str
    value: float
    """Share of the facts whose old answer comes; of `relearning` steps."""
    low: float
    high: float
    n: int
    base: Estimate
    """The same before the edit."""
    strangers: Estimate
    """The same of subjects that never had it."""

    @classmethod
    def of(cls, name: str, edited: Estimate, base: Estimate, strangers: Estimate) -> "RemovalTest":
        """A test from its three estimates."""
        return cls(name, *edited, base, strangers)

    @property
    def edited(self) -> Estimate:
        """What comes of the edited model."""
        return Estimate(self.value, self.low, self.high, self.n)

    @property
    def leaks(self) -> bool:
        """Whether the old answer comes more often, or sooner, than to those that never had it."""
        if not self.edited.n:
            return False
        if self.name == "relearning":
            return bool(self.strangers.n) and self.edited.value < SAVED * self.strangers.value
        return self.edited.value - (self.strangers.value if self.strangers.n else 0.0) > LEAK

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **self.edited.to_dict(),
            "unit": "steps" if self.name == "relearning" else "share",
            "base": self.base.to_dict(),
            "strangers": self.strangers.to_dict(),
            "leaks": self.leaks,
        }


@dataclass(frozen=True)
class Removal(Result):
    """Whether old answers are gone, test by test."""

    about: ClassVar[About] = About(
        "a search for removed answers",
        "Is the old answer gone, or does some question, layer or training bring it back?",
        "",
    )

    model: str
    bos: bool
    method: str
    edits: int
    tests: tuple[RemovalTest, ...]
    lens: tuple[tuple[float, float], ...]
    """After each layer: share of the facts whose old answer is the likeliest word, in the base and
    in the edited model.
    """
    steps: int
    rate: float
    seed: int
    left_out: dict[str, str] = field(default_factory=dict)
    """Tests that could not be made, and why."""

    @property
    def leaks(self) -> list[str]:
        """The tests that bring the old answers back."""
        return [test.name for test in self.tests if test.leaks]

    @property
    def verdict(self) -> str:
        """gone, hidden or not gone."""
        found = self.leaks
        if not found:
            return "gone"
        return "hidden" if all(name in INSIDE for name in found) else "not gone"

    def title(self) -> str:
        return f"{self.edits} {self.method} edit{'s' * (self.edits != 1)} of {self.model}"

    def summary(self) -> tuple[str, ...]:
        found = ", ".join(WORDS[name] for name in self.leaks)
        asked = next(test for test in self.tests if test.name == "asked")
        told = {
            "gone": "Gone: no test brings the old answers back more than strangers'.",
            "hidden": f"Hidden, not gone: it is not said, but found by: {found}.",
            "not gone": f"Not gone. The old answers come back: {found}.",
        }
        return (
            told[self.verdict],
            f"Asked as edited, {asked.edited.value:.0%} of the old answers are said"
            f" (n = {asked.edited.n}).",
        )

    def grade(self) -> Grade:
        grades: dict[str, Grade] = {"gone": "good", "hidden": "mixed", "not gone": "bad"}
        return grades[self.verdict]

    def tables(self) -> tuple[Table, ...]:
        shares = [test for test in self.tests if test.name != "relearning"]
        steps = [test for test in self.tests if test.name == "relearning" and test.edited.n]
        left = "; ".join(f"{WORDS[name]}: {why}" for name, why in self.left_out.items())
        return (
            Table(
                "Share of the old answers that come back",
                columns("test", "edited|.0%", "base|.0%", "strangers|.0%", "n", "leaks"),
                tuple(
                    (WORDS[t.name], t.edited, t.base, t.strangers, t.edited.n, t.leaks)
                    for t in shares
                    if t.edited.n
                ),
                note=left,
            ),
            *(
                Table(
                    "Steps of fine-tuning until the old answer is said",
                    columns("", "relearnt|.1f", "learnt by strangers|.1f", "n", "leaks"),
                    ((WORDS[t.name], t.edited, t.strangers, t.edited.n, t.leaks),),
                    note=f"at most {self.steps}; what is not said by then counts as {self.steps}",
                )
                for t in steps
            ),
            Table(
                "Lens: the old answer is the likeliest word",
                columns("after layer", "base|.0%", "edited|.0%"),
                tuple((str(layer), *both) for layer, both in enumerate(self.lens)),
                shown=30,
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.gone/1",
            "model": self.model,
            "bos": self.bos,
            "method": self.method,
            "edits": self.edits,
            "verdict": self.verdict,
            "leaks": self.leaks,
            "tests": [test.to_dict() for test in self.tests],
            "lens": [list(both) for both in self.lens],
            "steps": self.steps,
            "rate": self.rate,
            "seed": self.seed,
            "left_out": dict(self.left_out),
        }
