"""Editing by linear relational embeddings, the baseline at activations: no weight changes, the
subject's state is moved wherever it is named.

    z ≈ W s + b                s: stream behind `layer` at the last subject token; z: last stream
                               where the answer is due
    W = mean ∂z/∂s             over the fact itself and others of its relation
    s ← s + W⁺ (z' − z)        W⁺: pseudo-inverse of rank `rank`; z': where another subject of the
                               relation has the new answer

The state does not know what will be asked: it is moved for every question about the subject, and
the moves of several facts of one subject add up. A fact whose new answer is no other subject's is
left alone.
Source: Hernandez et al. 2024, "Linearity of relation decoding", section 4; there layer and rank are
swept for each relation, here one of each serves all, a third of the depth and a sixth of the width.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.errors import EditError
from loci.facts import Fact, FactSet
from loci.linalg import svd
from loci.model import Edit, Model
from loci.model.answers import with_answer
from loci.model.hooks import add_at

EXAMPLES = 4
ROWS = 128
"""Rows of a Jacobian taken in one backward pass."""


@dataclass(frozen=True)
class Steering:
    """Moves of subjects' states, in place of a patch."""

    layer: int
    moves: Mapping[str, Float[Tensor, " d_model"]]
    """By subject."""

    @contextmanager
    def applied(self, model: Model) -> Iterator[None]:
        """Inside the block the states are moved wherever the subjects' tokens stand together."""
        moves = [
            (tokens, move)
            for subject, move in self.moves.items()
            for tokens in spellings_of(model, subject)
        ]
        ids: list[Tensor] = []

        def note(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            ids[:] = [kwargs["input_ids"] if "input_ids" in kwargs else args[0]]

        def add(stream: Tensor) -> Tensor:
            moved = stream.clone()
            for tokens, move in moves:
                moved[ends_of(ids[0], tokens)] += move.to(stream)
            return moved

        handle = model.hf.register_forward_pre_hook(note, with_kwargs=True)
        try:
            with model.patched({f"resid_post.{self.layer}": add}):
                yield
        finally:
            handle.remove()


def steer_linearly(
    model: Model,
    facts: Sequence[Fact],
    world: FactSet,
    *,
    layer: int | None = None,
    rank: int | None = None,
    examples: int = EXAMPLES,
) -> Steering:
    """The moves for some facts.

    Cost: d_model gradients for each of `examples` facts of a relation. Raises `EditError` where
    none can be moved.
    """
    at_layer, rank = (
        model.n_layers // 3 if layer is None else layer,
        rank or max(1, model.d_model // 6),
    )
    by_relation: dict[str, list[Fact]] = {}
    for fact in facts:
        by_relation.setdefault(fact.relation or fact.prompt, []).append(fact)
    moves: dict[str, Tensor] = {}
    for relation, wishes in by_relation.items():
        others = [
            fact for fact in world.relations.get(relation, ()) if world.same(fact) not in wishes
        ]
        donors = {fact.answer: fact for fact in reversed(others)}
        moved = [fact for fact in wishes if fact.new_answer in donors]
        if not moved:
            continue
        back = _pseudo_inverse(_jacobian(model, (moved + others)[:examples], at_layer), rank)
        for fact in moved:
            missing = _due(model, donors[fact.new_answer or ""]) - _due(model, fact)
            moves[fact.subject] = (
                moves.get(fact.subject, torch.zeros_like(missing)) + back @ missing
            )
    if not moves:
        raise EditError(
            "no new answer is that of another fact of its relation: there is no state to move "
            "towards"
        )
    return Steering(at_layer, moves)


def spellings_of(model: Model, subject: str) -> set[tuple[int, ...]]:
    """The subject's tokens at the beginning of a text, and behind a space."""
    plain = model.tokenize(subject)
    behind = model.tokenize(f"The {subject}")
    whole = (
        plain.ids[slice(*plain.span((0, len(subject))))],
        behind.ids[slice(*behind.span((4, 4 + len(subject))))],
    )
    return set(whole)


def ends_of(ids: Int[Tensor, "row position"], tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Rows and positions where some tokens have just been said."""
    width = len(tokens)
    if ids.shape[1] < width:
        return (torch.empty(0, dtype=torch.long),) * 2
    rows, starts = (
        (ids.unfold(1, width, 1) == torch.tensor(tokens, device=ids.device))
        .all(-1)
        .nonzero(as_tuple=True)
    )
    return rows, starts + width - 1


def _prompt(model: Model, fact: Fact) -> tuple[tuple[int, ...], int]:
    """A prompt's tokens up to where its answer is due, and the position of the last of its
    subject."""
    tokens, (start, _) = with_answer(model, fact.text, fact.answer)
    return tokens.ids[:start], tokens.span(fact.subject_span)[1] - 1


@torch.no_grad()
def _due(model: Model, fact: Fact) -> Float[Tensor, " d_model"]:
    """z: the last stream where the answer is due."""
    point = f"resid_post.{model.n_layers - 1}"
    return model.read(model.ids([_prompt(model, fact)[0]]), point)[point][0, -1].float()


def _jacobian(model: Model, facts: Sequence[Fact], layer: int) -> Float[Tensor, "d_model d_model"]:
    """∂z/∂s, averaged over facts."""
    return torch.stack([_jacobian_of(model, fact, layer) for fact in facts]).mean(0)


@torch.enable_grad()
def _jacobian_of(model: Model, fact: Fact, layer: int) -> Float[Tensor, "d_model d_model"]:
    """Row by row: as many copies of the prompt as rows, each asked for the gradient of another
    component of z."""
    ids, subject = _prompt(model, fact)
    rows = []
    for components in torch.arange(model.d_model, device=model.device).split(ROWS):
        s = torch.zeros(len(components), model.d_model, device=model.device, requires_grad=True)
        gradients: list[Tensor] = []
        points: dict[str, Edit] = {
            f"resid_post.{layer}": add_at(s, slice(None), subject),
            f"resid_post.{model.n_layers - 1}": gradients.append,
        }
        with model.frozen(), model.patched(points):
            model(model.ids([ids] * len(components)))
        asked = gradients[0][:, -1].float().gather(1, components[:, None]).sum()
        rows.append(torch.autograd.grad(asked, s)[0])
    return torch.cat(rows)


def _pseudo_inverse(W: Float[Tensor, "d d"], rank: int) -> Float[Tensor, "d d"]:
    """Of the `rank` largest singular values alone."""
    U, S, Vh = svd(W, "the relation's weight")
    inverse: Tensor = (Vh[:rank].T / S[:rank]) @ U[:, :rank].T
    return inverse.float()
