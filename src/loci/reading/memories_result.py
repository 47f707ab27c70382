"""Keys and values over text: what keys need of triggers, and whether values say what follows."""

from dataclasses import dataclass
from math import nan
from typing import Any, ClassVar

from loci.result import About, Result
from loci.stats import Estimate
from loci.tables import Table, columns


@dataclass(frozen=True)
class Memories(Result):
    """By layer, with intervals over neurons, or over texts for what is counted at tokens."""

    about: ClassVar[About] = About(
        "keys and values",
        "What do keys need of their triggers, and do values say what follows?",
        "Shares by layer with 95 % intervals; the dotted line is chance where there is one.",
        "reading.memories_figure",
    )

    model: str
    bos: bool
    neurons: int
    """So many were sampled in each layer."""
    tokens: int
    seed: int
    dropped: dict[str, tuple[Estimate, ...]]
    lean: tuple[Estimate, ...]
    """Change without the first token less that without the last: large where keys look at the
    last token alone."""
    agreement: tuple[Estimate, ...]
    chance: tuple[Estimate, ...]
    composed: tuple[Estimate, ...]
    active: tuple[Estimate, ...]

    @property
    def shallow(self) -> tuple[int, ...]:
        """Layers that lean on the last token more than the layers' mean does, with the whole
        interval."""
        return tuple(layer for layer, e in enumerate(self.lean) if e.low > self.mean_lean)

    @property
    def semantic(self) -> tuple[int, ...]:
        """Layers that lean on it less than the mean does: what stands further back counts for
        more."""
        return tuple(layer for layer, e in enumerate(self.lean) if e.high < self.mean_lean)

    @property
    def mean_lean(self) -> float:
        known = [e.value for e in self.lean if e.n]
        return sum(known) / len(known) if known else nan

    def summary(self) -> tuple[str, ...]:
        return (
            "Layers that lean on the last token (shallow):"
            f" {', '.join(map(str, self.shallow)) or 'none'}; on more (semantic):"
            f" {', '.join(map(str, self.semantic)) or 'none'}.",
        )

    def title(self) -> str:
        return f"Keys and values of {self.model}, {self.neurons} neurons a layer, {self.tokens:,}"
        " tokens"

    def tables(self) -> tuple[Table, ...]:
        dropped = [f"{kind} dropped|+.0%" for kind in self.dropped]
        parts = (*self.dropped.values(), self.agreement, self.chance, self.composed, self.active)
        others = ("agreement|.1%", "chance|.1%", "composed|.1%", "active|.1%")
        return (
            Table(
                "By layer",
                columns("layer", *dropped, *others, "lean|+.0%"),
                tuple(
                    (str(i), *(part[i].value for part in parts), lean)
                    for i, lean in enumerate(self.lean)
                ),
                note="dropped: change of activation at top triggers without that token; agreement:"
                " the value's first token is what followed; composed: tokens at which no active"
                " memory says what the layer says; lean: how much more is lost with the last token"
                " than with the first",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {
            name: getattr(self, name) for name in ("model", "bos", "neurons", "tokens", "seed")
        }
        rows = {
            name: [e.to_dict() for e in getattr(self, name)]
            for name in ("lean", "agreement", "chance", "composed", "active")
        }
        kinds = {"shallow": list(self.shallow), "semantic": list(self.semantic)}
        dropped = {kind: [e.to_dict() for e in row] for kind, row in self.dropped.items()}
        return {"schema": "loci.memories/1", **plain, "dropped": dropped, **rows, **kinds}
