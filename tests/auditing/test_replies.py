"""A plain question to a model, and what a recall scores where facts have new answers."""

from pathlib import Path

import pytest

import loci
from loci.auditing import Replies, ask, recall
from loci.errors import FactError, ModelError, UseError
from loci.facts import Fact, FactSet
from loci.model import Model, next_tokens, score_answers
from loci.patches import Factors, Patch

PROMPT = "Michael Jordan plays the sport of"


def test_a_plain_question(demo: Model) -> None:
    found = ask(demo, PROMPT)
    (reply,) = found.replies
    assert (reply.prompt, reply.says, reply.answer) == (PROMPT, " basketball.", "basketball")
    assert reply.probability == pytest.approx(
        score_answers(demo, [(PROMPT, "basketball")])[0].probability
    )
    assert [token for token, _ in reply.next] == [
        token for token, _ in next_tokens(demo, PROMPT, 5)
    ]
    assert reply.next[0].probability == pytest.approx(next_tokens(demo, PROMPT, 1)[0][1], abs=1e-5)
    assert (reply.old, reply.new) == (None, None)
    assert loci.ask(demo, PROMPT) == found, "the same at the top, and the same twice"


def test_spaces_at_the_ends_ask_the_same(demo: Model) -> None:
    assert ask(demo, f"  {PROMPT} ") == ask(demo, PROMPT)


def test_several_prompts_and_facts(demo: Model, jordan: Fact) -> None:
    found = ask(
        demo, ["Osaka is a city in the country of", jordan.to("baseball"), jordan], top=2, tokens=3
    )
    assert [reply.answer for reply in found.replies] == ["Japan", "basketball", "basketball"]
    assert [len(reply.next) for reply in found.replies] == [2, 2, 2]
    city, wish, fact = found.replies
    assert city.new is None and fact.new is None
    assert wish.new is not None and (wish.new.answer, wish.new.said) == ("baseball", False)
    assert wish.old is not None and wish.old.said
    assert (found.new.n, found.new.value, found.old.n, found.old.value) == (1, 0.0, 2, 1.0)


def test_with_a_patch_on(demo: Model) -> None:
    """A change of every output of the last layer moves what is said; afterwards the model is as
    before.
    """
    import torch

    torch.manual_seed(0)
    factors = Factors(torch.randn(demo.d_model, 1) * 9, torch.rand(1, demo.d_mlp))
    patch = Patch("rome", demo.fingerprint, demo.name, {"W_down.5": factors}, ())
    found = ask(demo, PROMPT, patch=patch)
    assert found.patch == patch.id and found.replies[0].answer != "basketball"
    assert ask(demo, PROMPT).replies[0].answer == "basketball"


def test_nothing_to_ask(demo: Model) -> None:
    with pytest.raises(FactError, match="nothing to ask"):
        ask(demo, [])
    with pytest.raises(ModelError, match="empty"):
        ask(demo, " ")
    with pytest.raises(ModelError, match="tokens ≥ 1"):
        ask(demo, PROMPT, tokens=0)
    with pytest.raises(UseError, match="not int"):
        ask(demo, [3])  # type: ignore[list-item]


def test_replies_are_saved_and_read_back(demo: Model, jordan: Fact, tmp_path: Path) -> None:
    found = ask(demo, [PROMPT, jordan.to("golf")])
    found.save(tmp_path / "a.json")
    assert Replies.load(tmp_path / "a.json") == found
    found.save(tmp_path / "a.html")
    ask(demo, PROMPT).save(tmp_path / "b.html")


def test_a_recall_of_corrections_scores_the_new_answers(
    demo: Model, jordan: Fact, world: FactSet
) -> None:
    """On the base none is said, and all of the old ones;
    without new answers nothing is different.
    """
    corrected = FactSet([jordan.to("golf"), jordan.to("basketball")])
    found = recall(demo, corrected)
    assert (found.scored, found.new.value, found.old.value, found.new.n) == (
        "new_answer",
        0.5,
        1.0,
        2,
    )
    assert found.trained.value == pytest.approx(0.5)
    plain = recall(demo, [jordan])
    assert (plain.scored, plain.new.n, plain.old.n, plain.trained.value) == ("answer", 0, 0, 1.0)
    assert recall(demo, [jordan, jordan.to("golf")]).scored == "answer and new_answer"
