"""A causal trace in words: which cells say something, and which say the same."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from loci.facts import Span
from loci.locating.runs import KINDS, Kind
from loci.tables import Column, Table

if TYPE_CHECKING:
    from loci.locating.causal_trace import Trace

MOST_LISTED = 5
TIE = 0.02
"""Effects that differ by less are told as ties: so far a second draw of the noise moves them."""
AREAS: dict[Kind, str] = {"state": "the residual stream", "mlp": "an MLP", "attn": "attention"}


def trace_words(trace: "Trace") -> str:
    """The trace in sentences: the corruption, and where restored states give the answer back."""
    lines = [
        f"With its subject intact the model gives “{trace.answer}” a probability of"
        f" {trace.clean:.2f}. With {_hidden(trace)} that"
        f" {'falls' if trace.corrupted < trace.clean else 'rises'} to {trace.corrupted:.2f}. Then"
        " one state at a time is put back."
    ]
    if not trace.known:
        lines.insert(
            0,
            f"Mind: “{trace.answer}” is not what the model says here. It is traced all the same,"
            " but there may be little to find.",
        )
    lines += cells_words(trace).splitlines()
    lines.append(
        "A trace tells where the answer passes. It does not tell where an edit works best; that is"
        " another experiment."
    )
    return "\n".join(lines)


def cells_words(trace: "Trace") -> str:
    """The cells that say something: where the subject's state carries the answer, where the last
    token takes over, which sub-layers.

    The last token's state after the last layer gives everything back by construction, so it is not
    counted.
    """
    lines = [_state_words(trace)] if "state" in trace.grids else []
    for kind in (kind for kind in KINDS if kind in trace.grids and kind != "state"):
        layer, token, effect = trace.peak(kind)
        lines.append(
            f"Of {AREAS[kind]}, layer {layer} at {_at(trace, token)} gives back most:"
            f" {effect:+.2f}{_ties(trace, kind)}."
        )
    return "\n".join(lines)


def _state_words(trace: "Trace") -> str:
    """How far up the subject's tokens carry the answer, and from which layer on the last token
    does.
    """
    grid, (start, end), last = trace.grids["state"], trace.subject_span, len(trace.tokens) - 1
    inside = grid[:, start:end]
    layer, offset = divmod(int(inside.argmax()), end - start)
    most = float(inside[layer, offset])
    alike = [i for i in range(len(grid)) if float(grid[i, start + offset]) >= most - TIE]
    words = (
        f"The state at {_at(trace, start + offset)} gives back {most:+.2f} after {_layers(alike)}"
    )
    taken = next(
        (i for i in range(len(grid)) if float(grid[i, last]) > float(inside[i].max())), None
    )
    if last < end or taken is None:
        return words + "."
    later = f"; from layer {taken} on the last token carries more ({float(grid[taken, last]):+.2f})"
    return (
        words
        + (
            later
            if taken < len(grid) - 1
            else "; the last token carries more only after the last layer, where it must"
        )
        + "."
    )


def _ties(trace: "Trace", kind: Kind) -> str:
    """Other cells that give back as much, within `TIE`."""
    grid = trace.grids[kind]
    layer, token, effect = trace.peak(kind)
    near = (
        [(i, j) for i, j in (grid >= effect - TIE).nonzero().tolist() if (i, j) != (layer, token)]
        if effect > 2 * TIE
        else []
    )
    layers = "; ".join(f"layer {i} at {_at(trace, j)}" for i, j in near[:3])
    return (
        f" (as much, within {TIE}: {layers}{f' and {len(near) - 3} more' if len(near) > 3 else ''})"
        if near
        else ""
    )


def _at(trace: "Trace", token: int) -> str:
    return f"{_role(trace, token)} “{trace.tokens[token].strip()}”"


def _layers(layers: list[int]) -> str:
    """Layers as people say them: "layer 3", "layers 0 to 3", "layers 0, 2"."""
    if len(layers) == 1:
        return f"layer {layers[0]}"
    whole = layers == list(range(layers[0], layers[-1] + 1))
    if not whole and len(layers) > MOST_LISTED:
        return f"{len(layers)} layers from {layers[0]} to {layers[-1]}"
    return (
        f"layers {layers[0]} to {layers[-1]}" if whole else f"layers {', '.join(map(str, layers))}"
    )


def _hidden(trace: "Trace") -> str:
    """How the subject is hidden."""
    if trace.corruption == "mean":
        return "the mean of known subjects' embeddings in its place"
    if trace.corruption == "resample":
        return f"other subjects in its place ({trace.samples} draws)"
    return (
        f"noise on the subject's embeddings ({trace.corruption}, strength {trace.noise:g},"
        f" {trace.samples} draws)"
    )


def _role(trace: "Trace", token: int) -> str:
    start, end = trace.subject_span
    if token == end - 1:
        return "the last subject token"
    if start <= token < end:
        return "the subject token"
    return "the last token" if token == len(trace.tokens) - 1 else "the token"


def effect_tables(
    grids: Mapping[Any, Float[Tensor, "layer token"]], tokens: Sequence[str], subject_span: Span
) -> tuple[Table, ...]:
    """One table a kind: a row for each token, a column for each layer."""
    limit = max(float(grid.max()) for grid in grids.values()) or 1.0
    start, end = subject_span
    names = [token.strip() or repr(token) for token in tokens]
    named = [name + "*" * (start <= i < end) for i, name in enumerate(names)]
    note = "P(answer) given back by restoring it, by layer; shaded in hundredths; * subject"
    return tuple(
        Table(
            f"{kind}, layer",
            (Column("token"), *(Column(str(layer), "+.3f") for layer in range(len(grid)))),
            tuple((name, *row) for name, row in zip(named, grid.T.tolist(), strict=True)),
            note=note if kind == list(grids)[-1] else "",
            heat=limit,
        )
        for kind, grid in grids.items()
    )
