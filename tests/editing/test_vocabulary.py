"""The part of a vocabulary that an edit's texts touch, against the whole one."""

import pytest
import torch

from loci.editing import vocabulary
from loci.editing.prompts import TrainingPrompt
from loci.editing.vocabulary import Vocabulary
from loci.model import Model
from loci.model.unembedding import last_streams


@pytest.fixture
def prompts(demo: Model) -> list[TrainingPrompt]:
    """A prompt that wants Japan, and one that is to stay."""
    asked = demo.tokenize("Osaka is a city in the country of Japan").ids
    kept = demo.tokenize("Michael Jordan plays the sport of").ids
    return [
        TrainingPrompt(0, asked[:-1], 2, (len(asked) - 2,), (asked[-1],)),
        TrainingPrompt(0, kept, 3, (3, 5)),
    ]


def streams(model: Model, prompts: list[TrainingPrompt]) -> torch.Tensor:
    return torch.cat(
        [
            last_streams(model, model.ids([prompt.ids]))[0, list(prompt.positions)]
            for prompt in prompts
        ]
    )


@torch.no_grad()
def test_a_small_vocabulary_is_whole(demo: Model, prompts: list[TrainingPrompt]) -> None:
    found = Vocabulary.of(demo, prompts)
    assert found.tokens is None and found.columns == demo.d_vocab and found.place(17) == 17
    whole = demo.unembed(streams(demo, prompts)).log_softmax(-1)
    torch.testing.assert_close(found.logprobs(streams(demo, prompts), found.rest(prompts)), whole)


@torch.no_grad()
def test_of_a_large_one_the_tokens_in_s_have_their_probabilities(
    demo: Model, prompts: list[TrainingPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the base the rest weighs what it weighs, so every token of S has exactly its probability,
    and the rest what is left.
    """
    for name, value in (("WHOLE", 10), ("LIKELIEST", 5), ("MOST", 12)):
        monkeypatch.setattr(vocabulary, name, value)
    found = Vocabulary.of(demo, prompts)
    assert found.tokens is not None and found.columns < 20
    assert prompts[0].answer[0] in found.tokens.tolist()
    whole = demo.unembed(streams(demo, prompts)).log_softmax(-1)
    some = found.logprobs(streams(demo, prompts), found.rest(prompts))
    torch.testing.assert_close(some[:, :-1], whole[:, found.tokens], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(some.exp().sum(-1), torch.ones(3))
    assert found.place(prompts[0].answer[0]) == found.tokens.tolist().index(prompts[0].answer[0])
    outside = next(token for token in range(demo.d_vocab) if token not in found.tokens.tolist())
    assert found.place(outside) == found.columns - 1 and found.place(-1) == -1


@torch.no_grad()
def test_lines_that_come_later_are_weighed_then(
    demo: Model, prompts: list[TrainingPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "WHOLE", 10)
    early, late = Vocabulary.of(demo, prompts), Vocabulary.of(demo, prompts)
    late.rests.clear()
    torch.testing.assert_close(
        late.rest(prompts[::-1]), torch.cat([early.rest(prompts[1:]), early.rest(prompts[:1])])
    )
