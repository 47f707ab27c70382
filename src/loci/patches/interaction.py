"""How far patches that are merged disturb each other, in one line: what was measured, and what was
not.

response  ‖Δᵢ Kⱼ‖ / ‖Δⱼ Kⱼ‖: what one patch adds at the subjects of another, beside what that one
          does there. Needs the base
cosine    of two changes as vectors. It says nothing of what they do at each other's subjects: 0.1 %
          may go with 120 %
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

RESPONSE_LIMIT = 0.1
"""Response above which a merge is warned of."""
Matrices = Mapping[str, Mapping[str, list[list[float]]]]
"""By weight and measure, [i][j] over the patches."""


class Interaction(NamedTuple):
    """The largest interaction between two different patches."""

    weight: str
    measure: str
    value: float

    @property
    def measured(self) -> bool:
        """Whether the base was asked for keys."""
        return self.measure == "response"

    @property
    def warns(self) -> bool:
        return self.measured and self.value > RESPONSE_LIMIT

    @property
    def line(self) -> str:
        """In words."""
        if not self.measured:
            return (
                "how far they disturb each other is not measured: the cosine of their changes is"
                f" {self.value:.1%} at most ({self.weight}), which says nothing of each other's"
                " subjects; -m BASE measures it"
            )
        return (
            f"strongest interaction: {self.value:.1%} in {self.weight} (of its own change one patch"
            " adds at the other's subjects)"
        )

    @property
    def warning(self) -> str | None:
        """A warning where the interaction is above the limit; None where it is not."""
        if not self.warns:
            return None
        return (
            f"one patch adds {self.value:.0%} of the other's own change at its subjects (limit"
            f" {RESPONSE_LIMIT:.0%}): edits may fail; make them together, in one loci edit"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            **self._asdict(),
            "measured": self.measured,
            "limit": RESPONSE_LIMIT,
            "warning": self.warning,
        }


def strongest(interaction: Matrices) -> Interaction | None:
    """Weight, measure and value of the largest interaction between two different patches; None
    without one.
    """
    interactions = [
        Interaction(name, measure, abs(value))
        for name, measures in interaction.items()
        for measure, rows in measures.items()
        for i, row in enumerate(rows)
        for j, value in enumerate(row)
        if i != j and measure == ("response" if "response" in measures else "cosine")
    ]
    return max(interactions, key=lambda item: item.value, default=None)
