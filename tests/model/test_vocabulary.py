"""A vocabulary of 262,144 words: only what is read is unembedded,
so no tensor outgrows its budget.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as t
from torch.utils._python_dispatch import TorchDispatchMode

from loci.auditing import recall
from loci.editing import TargetSettings
from loci.editing.targets import find_targets
from loci.facts import Fact, FactSet
from loci.locating import lens, trace
from loci.model import Model, complete
from loci.model.tokenised import BYTES
from loci.survey.drift import Drift

WORDS = 262_144


class Largest(TorchDispatchMode):
    """The largest tensor that is made inside the block, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(made, torch.Tensor):
                self.bytes = max(self.bytes, made.untyped_storage().nbytes())
        return out


@pytest.fixture(scope="module")
def wide(demo: Model) -> Model:
    torch.manual_seed(0)
    config = t.GPT2Config(
        vocab_size=WORDS,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    return Model(t.GPT2LMHeadModel(config), demo.tokenizer, "wide")


USES: dict[str, Callable[[Model, list[Fact], Fact], object]] = {
    "ask": lambda model, facts, _: complete(model, [fact.text for fact in facts], 2),
    "recall": lambda model, facts, _: recall(model, facts),
    "lens": lambda model, _, jordan: lens(model, jordan.text, jordan.answer),
    "trace": lambda model, _, jordan: trace(model, jordan, samples=10),
    "edit": lambda model, _, jordan: find_targets(
        model, [jordan.to("baseball")], 0, TargetSettings(contexts=1, essence=4, own=1, steps=2)
    ),
    "drift": lambda model, facts, _: Drift(model, [fact.text for fact in facts[:30]]).now(),
}


@pytest.mark.parametrize("use", USES)
def test_nothing_outgrows_its_budget(use: str, wide: Model, world: FactSet, jordan: Fact) -> None:
    """200 prompts of about ten tokens would have logits of 2 GB."""
    facts = [Fact(fact.subject, fact.prompt, fact.answer) for fact in list(world)[:200]]
    assert wide.rows_at_once * WORDS * 4 <= BYTES
    with Largest() as largest:
        USES[use](wide, facts, jordan)
    assert WORDS * 4 <= largest.bytes <= BYTES


def test_budgets_follow_the_sizes(wide: Model, demo: Model) -> None:
    assert (demo.tokens_at_once, wide.tokens_at_once) == (8192, 8192)
    assert wide.rows_at_once == 128 and demo.rows_at_once == 8192
