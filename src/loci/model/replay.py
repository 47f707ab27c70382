"""A run that can be continued from any layer: the blocks are called again with what they were called with, but the residual stream.

Masks, rotary embeddings and windows come along with the arguments, whatever the family. Runs use no cache, so nothing is remembered
between replays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from loci.errors import ModelError

if TYPE_CHECKING:
    from loci.model.model import Model


@dataclass(frozen=True)
class Call:
    """What a block was called with; the first argument is the residual stream."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def resid(self) -> Float[Tensor, "batch position d_model"]:
        resid: Tensor = self.args[0] if self.args else self.kwargs["hidden_states"]
        return resid

    def with_resid(self, resid: Tensor, rows: "Rows | None") -> "Call":
        """The same call with another residual stream, and with the masks and positions of the chosen rows."""
        args, kwargs = (self.args, self.kwargs) if rows is None else (rows.of(self.args), rows.of(self.kwargs))
        if args:
            return Call((resid, *args[1:]), kwargs)
        return Call((), {**kwargs, "hidden_states": resid})


@dataclass(frozen=True)
class Rows:
    """Which of a recording's rows each replayed row continues."""

    recorded: int
    chosen: tuple[int, ...]
    n_heads: int

    def of(self, value: Any) -> Any:
        """Tensors with an entry for each row, or for each head of each row (ALiBi), cut to the chosen rows, wherever they stand."""
        if isinstance(value, Tensor) and value.ndim > 1 and len(value) == self.recorded * self.n_heads:
            return self._cut(value.unflatten(0, (self.recorded, self.n_heads))).flatten(0, 1)
        if isinstance(value, Tensor):
            return self._cut(value) if value.ndim > 1 and len(value) == self.recorded else value
        if isinstance(value, dict):
            return {key: self.of(item) for key, item in value.items()}
        return tuple(self.of(item) for item in value) if isinstance(value, tuple) else value

    def _cut(self, value: Tensor) -> Tensor:
        first = self.chosen[0]
        if self.chosen == (first,) * len(self.chosen):
            return value[first : first + 1].expand(len(self.chosen), *value.shape[1:])
        return value[list(self.chosen)]


@dataclass(frozen=True)
class Recording:
    """A run that can be continued from any layer with another residual stream, in another batch size, with gradients."""

    model: "Model"
    calls: tuple[Call, ...]
    logits: Float[Tensor, "batch position d_vocab"]
    padded: bool = False

    def resid_pre(self, layer: int) -> Float[Tensor, "batch position d_model"]:
        return self.calls[layer].resid

    def replay(
        self,
        layer: int,
        resid: Float[Tensor, "batch position d_model"],
        last: int | None = None,
        rows: Sequence[int] | None = None,
    ) -> Float[Tensor, "batch position d_vocab"]:
        """Logits when block `layer` finds `resid`; only the `last` positions are unembedded where that is said.

        Batch size may differ from the recording's: unpadded rows are all alike, and of a padded recording `rows` says which of its
        rows each row of `resid` continues. Hooks of `watch` and `patched` act as in a full run.
        Cost: the blocks from `layer` on, and the unembedding of `last` positions. Raises `ModelError`.
        """
        if not 0 <= layer <= len(self.calls):
            raise ModelError(
                f"there is no layer {layer} to replay from: expected 0 … {len(self.calls)}, the last for unembedding alone"
            )
        self.model.hf.eval()
        chosen = self._rows(len(resid), rows)
        for call, block in zip(self.calls[layer:], self.model.blocks[layer:], strict=True):
            call = call.with_resid(resid, chosen)
            out = block(*call.args, **call.kwargs)
            resid = out[0] if isinstance(out, tuple) else out
        return self.model.unembed(resid if last is None else resid[:, -last:])

    def _rows(self, count: int, rows: Sequence[int] | None) -> Rows | None:
        """Which recorded row each replayed row continues; None where they are the same rows."""
        recorded = len(self.calls[0].resid)
        if rows is None and count == recorded:
            return None
        if rows is None and self.padded:
            raise ModelError(f"{count} rows cannot continue {recorded} padded ones: say which, as in rows=[0, 0, 1]")
        chosen = (0,) * count if rows is None else tuple(rows)
        if len(chosen) != count or not all(0 <= row < recorded for row in chosen):
            raise ModelError(f"rows must name one of 0 … {recorded - 1} for each of the {count} rows")
        return Rows(recorded, chosen, self.model.n_heads)
