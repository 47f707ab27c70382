"""Steering by linear relations against finite differences, algebra and moves made by hand."""

import pytest
import torch

from loci.auditing.linear_relations import (
    Steering,
    _due,
    _jacobian_of,
    _prompt,
    _pseudo_inverse,
    ends_of,
    steer_linearly,
)
from loci.errors import EditError
from loci.facts import Fact, FactSet
from loci.model import Model, score_answers


def test_jacobian_is_what_small_moves_do(tiny: Model) -> None:
    """∂z/∂s · v against (z(s + εv) − z(s − εv)) / 2ε."""
    fact = Fact("Michael Jordan", "{} does the sport of", "basketball")
    ids, subject = _prompt(tiny, fact)
    assert tiny.decode(ids).endswith("sport of") and tiny.decode(ids[: subject + 1]).endswith(
        "Michael Jordan"
    )
    v = torch.randn(tiny.d_model, generator=torch.Generator().manual_seed(0))
    last = f"resid_post.{tiny.n_layers - 1}"

    def z(step: float) -> torch.Tensor:
        def add(stream: torch.Tensor) -> torch.Tensor:
            stream = stream.clone()
            stream[:, subject] += step * v
            return stream

        with tiny.patched({"resid_post.0": add}):
            return tiny.read(tiny.ids([ids]), last)[last][0, -1]

    by_hand = (z(1e-2) - z(-1e-2)) / 2e-2
    torch.testing.assert_close(_jacobian_of(tiny, fact, 0) @ v, by_hand, rtol=2e-2, atol=2e-3)


def test_pseudo_inverse_of_some_rank() -> None:
    W = torch.randn(9, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(_pseudo_inverse(W, 9) @ W, torch.eye(9), atol=1e-4, rtol=1e-4)
    part = _pseudo_inverse(W, 3)
    assert torch.linalg.matrix_rank(part) == 3
    torch.testing.assert_close(part @ W @ part, part, atol=1e-4, rtol=1e-4)


def test_ends_are_found_wherever_tokens_stand_together() -> None:
    ids = torch.tensor([[1, 2, 3, 1, 2], [2, 1, 1, 2, 9]])
    rows, columns = ends_of(ids, (1, 2))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (0, 4), (1, 3)]
    assert not ends_of(ids, tuple(range(6)))[0].numel()


def test_states_move_where_the_subject_is_named_and_nowhere_else(demo: Model) -> None:
    move = torch.randn(demo.d_model, generator=torch.Generator().manual_seed(2))
    steering = Steering(1, {"Michael Jordan": move})
    for text, named in (
        ("Michael Jordan plays", True),
        ("They say that Michael Jordan plays", True),
        ("Scottie Pippen plays", False),
    ):
        tokens = demo.tokenize(text)
        before = demo.read(demo.ids([tokens.ids]), "resid_post.1")["resid_post.1"]
        with steering.applied(demo):
            after = demo.read(demo.ids([tokens.ids]), "resid_post.1")["resid_post.1"]
        expected = torch.zeros_like(before)
        if named:
            at = text.index("Michael")
            expected[0, tokens.span((at, at + len("Michael Jordan")))[1] - 1] = move
        torch.testing.assert_close(after - before, expected, atol=1e-5, rtol=1e-4)


def test_a_move_towards_a_donor(demo: Model, world: FactSet, jordan: Fact) -> None:
    """With the full Jacobian of one fact, a move of `back @ missing` is the published one; the new
    answer gets likelier.
    """
    wish = jordan.to("baseball")
    steering = steer_linearly(demo, [wish], world, layer=1, rank=40, examples=1)
    donor = next(f for f in world.relations[jordan.relation] if f.answer == "baseball")
    back = _pseudo_inverse(_jacobian_of(demo, wish, 1), 40)
    torch.testing.assert_close(
        steering.moves["Michael Jordan"],
        back @ (_due(demo, donor) - _due(demo, wish)),
        atol=1e-3,
        rtol=1e-3,
    )
    [before] = score_answers(demo, [(wish.text, "baseball")])
    with steering.applied(demo):
        [after] = score_answers(demo, [(wish.text, "baseball")])
    assert after.logprob > before.logprob + 1
    [again] = score_answers(demo, [(wish.text, "baseball")])
    assert again.logprob == before.logprob


def test_nobody_to_move_towards(demo: Model, world: FactSet, jordan: Fact) -> None:
    with pytest.raises(EditError, match="no state to move towards"):
        steer_linearly(demo, [jordan.to("chess boxing")], world)
