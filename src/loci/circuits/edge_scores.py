"""The result of edge attribution: every edge's estimate, and exact effects of the strongest.

    estimates[s, r] = Σ_positions δ_s · ∂score/∂(input of r)        NaN where s does not precede r
    patched         = score(r reads its input + δ_s) − score        one replay an edge

`edge_attribution` makes it, and says how senders and receivers are named.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor

from loci.result import About, Result
from loci.tables import Table, columns


class EdgeScore(NamedTuple):
    """An edge, its estimate, and its exact effect where it was patched."""

    sender: str
    receiver: str
    estimate: float
    patched: float | None


@dataclass(frozen=True, eq=False)
class EdgeAttribution(Result):
    """Estimates of all edges; NaN where the sender does not stand before the receiver.

    The strongest are patched.
    """

    about: ClassVar[About] = About(
        "edges",
        "What changes when one path alone carries what another prompt says?",
        "Estimates by gradients, and the largest patched exactly.",
        "circuits_paths.edges_figure",
    )

    model: str
    bos: bool
    prompt: str
    corrupted: str
    answer: str
    against: str | None
    clean: float
    corrupt: float
    """The score in the two runs."""
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    estimates: Float[Tensor, "sender receiver"]
    top: tuple[EdgeScore, ...]

    def title(self) -> str:
        return (
            f"{self.prompt} ({self.clean:.2f}) told what {self.corrupted} ({self.corrupt:.2f}) says"
        )

    def tables(self) -> tuple[Table, ...]:
        return (
            Table(
                "The largest edges",
                columns("from", "to", "patched|+.3f", "estimated|+.3f"),
                tuple((own.sender, own.receiver, own.patched, own.estimate) for own in self.top),
                note="change of the answer's score when the path alone carries what the other"
                " prompt says",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        rows = self.estimates.tolist()
        named = {
            receiver: {
                s: row[j] for s, row in zip(self.senders, rows, strict=True) if row[j] == row[j]
            }
            for j, receiver in enumerate(self.receivers)
        }
        return {
            "schema": "loci.edges/1",
            **vars(self),
            "estimates": named,
            "top": [edge._asdict() for edge in self.top],
        }
