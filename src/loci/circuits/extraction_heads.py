"""Which heads carry subjects to answers, over many facts: the means of `carriers`, head by head;
one unit is one fact."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch

from loci.circuits.fact_circuit_results import FactHead
from loci.circuits.fact_circuits import fact_circuit
from loci.errors import CircuitError
from loci.facts import Fact
from loci.model import Model
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean
from loci.tables import Table, columns


class ExtractionHead(NamedTuple):
    """One head over many facts."""

    head: str
    attention: Estimate
    direct: Estimate
    lost: Estimate


@dataclass(frozen=True)
class ExtractionHeads(Result):
    """Which heads carry subjects to answers, over facts that the model knows; one unit is one
    fact."""

    about: ClassVar[About] = About(
        "heads that carry facts",
        "Which heads carry subjects to answers, over many facts?",
        "Shares lost and scores written, with 95 % intervals.",
        "circuits_fact.extraction_figure",
    )

    model: str
    bos: bool
    n: int
    heads: tuple[ExtractionHead, ...]
    """The largest mean direct part first."""
    together: Estimate
    """P(answer) lost when each fact's own four heads of the largest direct parts are cut at
    once."""

    def title(self) -> str:
        return f"Heads of {self.model} that carry subjects to answers, over {self.n} facts"

    def summary(self) -> tuple[str, ...]:
        lost = self.together.told(".1%")
        return (f"Each fact's own four strongest heads cut at once: P lost {lost}.",)

    def tables(self) -> tuple[Table, ...]:
        heads = ("P lost when cut|.1%", "score written", "attention to the subject|.1%")
        rows = tuple((own.head, own.lost, own.direct, own.attention) for own in self.heads)
        return (Table("Heads", columns("head", *heads), rows, shown=12),)

    def to_dict(self) -> dict[str, Any]:
        heads = [
            {"head": head.head}
            | {name: getattr(head, name).to_dict() for name in ("attention", "direct", "lost")}
            for head in self.heads
        ]
        return {
            "schema": "loci.extraction/1",
            **vars(self),
            "heads": heads,
            "together": self.together.to_dict(),
        }


@torch.no_grad()
def extraction(
    model: Model, facts: Sequence[Fact], *, progress: Progress = silent
) -> ExtractionHeads:
    """Average `fact_circuit` over facts, head by head.

    Args:
        model: an open model; it is left as it was.
        facts: at least one; each is one unit of the intervals.
        progress: called with (steps done, steps in all).

    Returns: `ExtractionHeads`: attention, direct effect and loss of each head, with 95 % intervals.
    Raises: `CircuitError` without facts.
    Cost: `fact_circuit` for each fact.
    """
    if not facts:
        raise CircuitError("no facts to follow: at least one is needed")
    rows: dict[str, list[FactHead]] = {}
    together = []
    for fact in facts:
        circuit = fact_circuit(model, fact, neurons=0)
        together.append(circuit.together)
        for carrier in circuit.heads:
            rows.setdefault(carrier.head, []).append(carrier)
        progress(1, len(facts))

    def averaged(name: str, of: Sequence[FactHead]) -> ExtractionHead:
        return ExtractionHead(
            name,
            *(
                mean([getattr(c, field) for c in of], samples=500)
                for field in ("attention", "direct", "lost")
            ),
        )

    heads = sorted(
        (averaged(name, of) for name, of in rows.items()), key=lambda head: -head.direct.value
    )
    return ExtractionHeads(model.name, model.with_bos, len(facts), tuple(heads), mean(together))
